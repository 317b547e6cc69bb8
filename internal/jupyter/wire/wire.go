// Package wire reads and writes the messages of Jupyter kernels as they travel over a websocket:
// as JSON, and in the binary form of the subprotocol v1.kernel.websocket.jupyter.org. It keeps
// the bytes of a message's parts and parses only the two headers. It does no input or output.
//
// The formats are those of jupyter_server's documentation ("WebSocket kernel wire protocols") and
// of the messaging specification of jupyter_client 5.3.
package wire

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Protocol is the encoding of messages in the frames of a websocket.
type Protocol int

// The protocols.
const (
	JSON Protocol = iota // a text frame, or a binary one with buffers after the text
	V1                   // binary, with 64-bit offsets
)

// Subprotocol is the name of V1 in a websocket's handshake.
const Subprotocol = "v1.kernel.websocket.jupyter.org"

const (
	// MaxMessage bounds a message in bytes. A browser's tab cannot show a larger output.
	MaxMessage = 64 << 20
	// maxBuffers bounds the binary buffers of a message.
	maxBuffers = 4096
	// maxID bounds the identifiers of a message in bytes. Jupyter's have 36 or 72.
	maxID = 256
)

// channels are the channels of a kernel.
var channels = []string{"shell", "iopub", "stdin", "control"}

// Head holds the fields of a header that are used.
type Head struct {
	ID      string `json:"msg_id"`
	Session string `json:"session"`
	Type    string `json:"msg_type"`
}

// Message is a message from or for a kernel. Header, Parent, Metadata and Content
// are JSON objects.
type Message struct {
	Channel  string
	Header   []byte
	Parent   []byte
	Metadata []byte
	Content  []byte
	Buffers  [][]byte
	Long     *io.SectionReader // the content, if it stays in a file because it is long (InPlace)

	Head   Head // of Header
	Origin Head // of Parent; zero if the message answers none

	v1 []byte // the V1 encoding that it was read from, if that is still valid
}

// Size returns the length of the message's parts in bytes.
func (m Message) Size() int {
	n := len(m.Header) + len(m.Parent) + len(m.Metadata) + m.contentSize()
	for _, b := range m.Buffers {
		n += len(b)
	}
	return n
}

func (m Message) contentSize() int {
	if m.Long != nil {
		return int(m.Long.Size())
	}
	return len(m.Content)
}

// Date returns the time at which the message was made, by its sender's clock; zero if the header
// has none.
func (m Message) Date() time.Time {
	var h struct {
		Date string `json:"date"`
	}
	_ = json.Unmarshal(m.Header, &h) // stays zero
	t, _ := time.Parse(time.RFC3339Nano, h.Date)
	return t
}

// Decoder decodes consecutive messages. Those of one execution have the same parent header, which
// it parses once.
type Decoder struct {
	Protocol Protocol
	parent   []byte
	origin   Head
}

// Decode reads a message from a frame. The message keeps parts of data.
func Decode(p Protocol, binaryFrame bool, data []byte) (Message, error) {
	return (&Decoder{Protocol: p}).Decode(binaryFrame, data)
}

// Decode reads a message from a frame. The message refers to parts of data. With ErrContent, the
// headers of the message are valid, and it has no content and metadata.
func (d *Decoder) Decode(binaryFrame bool, data []byte) (Message, error) {
	if len(data) > MaxMessage {
		return Message{}, fmt.Errorf("a message of %d bytes, more than %d", len(data), MaxMessage)
	}
	var m Message
	var err error
	switch {
	case d.Protocol == V1:
		m, err = decodeV1(data)
	case binaryFrame:
		m, err = decodeBuffers(data)
	default:
		m, err = decodeText(data)
	}
	if err == nil {
		err = d.check(&m)
	}
	if err != nil && !errors.Is(err, ErrContent) {
		return Message{}, err
	}
	return m, err
}

// decodeV1 reads a count, as many offsets, and between these the channel, the four objects and
// the buffers. All numbers are little-endian and have 64 bits.
func decodeV1(data []byte) (m Message, err error) {
	if len(data) < 8 {
		return m, errors.New("a message without offsets")
	}
	n := binary.LittleEndian.Uint64(data)
	if n < 6 || n > maxBuffers+6 || uint64(len(data)) < 8*(n+1) {
		return m, fmt.Errorf("a message with %d offsets", n)
	}
	parts := make([][]byte, 0, n-1)
	at := binary.LittleEndian.Uint64(data[8:])
	for i := uint64(2); i <= n; i++ {
		next := binary.LittleEndian.Uint64(data[8*i:])
		if at < 8*(n+1) || next < at || next > uint64(len(data)) {
			return m, fmt.Errorf("a message with the offsets %d and %d in %d bytes", at, next, len(data))
		}
		parts = append(parts, data[at:next:next])
		at = next
	}
	m = Message{Channel: string(parts[0]), Header: parts[1], Parent: parts[2], Metadata: parts[3], Content: parts[4]}
	if len(parts) > 5 {
		m.Buffers = parts[5:]
	}
	if binary.LittleEndian.Uint64(data[8:]) == 8*(n+1) && at == uint64(len(data)) {
		m.v1 = data
	}
	return m, nil
}

// decodeBuffers reads a count, as many offsets, the JSON text and the buffers. All numbers are
// big-endian and have 32 bits.
func decodeBuffers(data []byte) (Message, error) {
	if len(data) < 4 {
		return Message{}, errors.New("a message without offsets")
	}
	n := uint64(binary.BigEndian.Uint32(data))
	if n < 1 || n > maxBuffers+1 || uint64(len(data)) < 4*(n+1) {
		return Message{}, fmt.Errorf("a message with %d offsets", n)
	}
	parts := make([][]byte, 0, n)
	for i := uint64(1); i <= n; i++ {
		at, next := uint64(binary.BigEndian.Uint32(data[4*i:])), uint64(len(data))
		if i < n {
			next = uint64(binary.BigEndian.Uint32(data[4*(i+1):]))
		}
		if at < 4*(n+1) || next < at || next > uint64(len(data)) {
			return Message{}, fmt.Errorf("a message with the offsets %d and %d in %d bytes", at, next, len(data))
		}
		parts = append(parts, data[at:next:next])
	}
	m, err := decodeText(parts[0])
	if len(parts) > 1 {
		m.Buffers = parts[1:]
	}
	return m, err
}

func decodeText(data []byte) (Message, error) {
	m, ok := readParts(data)
	if !ok {
		m, ok = readParts(withoutNaN(data))
	}
	if !ok {
		return Message{}, errors.New("a message that is no JSON object, or with a channel that is no text")
	}
	if m.Channel == "" { // clients of the first protocol omit it
		m.Channel = "shell"
	}
	return m, nil
}

func readParts(data []byte) (m Message, ok bool) {
	var all stringsOf
	ok = text(data).members(func(key, value []byte) {
		switch string(key) {
		case "channel":
			all.read(&m.Channel, value)
		case "header":
			m.Header = value
		case "parent_header":
			m.Parent = value
		case "metadata":
			m.Metadata = value
		case "content":
			m.Content = value
		}
	})
	return m, ok && !all.bad
}

// check parses the headers. It returns an error if the message is invalid.
func (d *Decoder) check(m *Message) error {
	if !slices.Contains(channels, m.Channel) {
		return fmt.Errorf("a message on the channel %.20q", m.Channel)
	}
	for _, part := range []*[]byte{&m.Header, &m.Parent, &m.Metadata, &m.Content} {
		if clean(part) {
			m.v1 = nil
		}
	}
	if err := m.Head.read(m.Header); err != nil {
		return fmt.Errorf("a message's header: %w", err)
	}
	if m.Head.ID == "" || m.Head.Type == "" {
		return errors.New("a message without msg_id or msg_type")
	}
	if !bytes.Equal(d.parent, m.Parent) || d.parent == nil {
		var origin Head
		if err := origin.read(m.Parent); err != nil {
			return fmt.Errorf("a message's parent header: %w", err)
		}
		m.Origin, d.parent = origin, nil
		if len(m.Parent) <= 16*maxID {
			d.parent, d.origin = bytes.Clone(m.Parent), origin
		}
	} else {
		m.Origin = d.origin
	}
	return m.checkContent()
}

// ErrContent means that the content or the metadata of a message is no JSON object.
var ErrContent = errors.New("a message whose content or metadata is no JSON object")

func (m *Message) checkContent() error {
	for _, part := range []*[]byte{&m.Metadata, &m.Content} {
		if isObject(*part) {
			continue
		}
		if *part, m.v1 = withoutNaN(*part), nil; !isObject(*part) {
			m.Metadata, m.Content, m.Buffers = []byte("{}"), []byte("{}"), nil
			return ErrContent
		}
	}
	return nil
}

// withoutNaN returns a JSON text with null in place of NaN, Infinity and -Infinity, which no JSON has
// and which Python and others write. A page would not read such a message.
func withoutNaN(b []byte) []byte {
	all := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '"' {
			end := text(b).quoted(i)
			if end < 0 { // no JSON, whatever follows
				return b
			}
			all, i = append(all, b[i:end]...), end-1
			continue
		}
		word := ""
		for _, w := range []string{"NaN", "Infinity", "-Infinity"} {
			if text(b).word(i, w) > 0 {
				word = w
			}
		}
		if word == "" {
			all = append(all, b[i])
			continue
		}
		all, i = append(all, "null"...), i+len(word)-1
	}
	return all
}

// clean replaces an absent part by an empty object, and invalid UTF-8 in it: a text frame with
// invalid UTF-8 would end the websocket. Languages without a type for objects write [] for an empty one.
// clean reports whether it has changed the part.
func clean(part *[]byte) (changed bool) {
	if b := bytes.TrimSpace(*part); len(b) == 0 || string(b) == "null" || string(b) == "[]" {
		*part, changed = []byte("{}"), true
	}
	if !utf8.Valid(*part) {
		*part, changed = bytes.ToValidUTF8(*part, []byte("\uFFFD")), true
	}
	return changed
}

var errNoObject = errors.New("no JSON object")

func isObject(b []byte) bool { return text(b).members(nil) }

// read parses a header.
func (h *Head) read(data []byte) error {
	var all stringsOf
	if !text(data).members(func(key, value []byte) {
		switch string(key) {
		case "msg_id":
			all.read(&h.ID, value)
		case "session":
			all.read(&h.Session, value)
		case "msg_type":
			all.read(&h.Type, value)
		}
	}) {
		return errNoObject
	}
	if all.bad {
		return errors.New("an identifier that is no text")
	}
	for _, id := range []string{h.ID, h.Session, h.Type} {
		if len(id) > maxID {
			return fmt.Errorf("an identifier of %d bytes", len(id))
		}
	}
	return nil
}

// Encode returns the message as the content of a frame, which is binary or text. It may return
// the bytes that the message was read from, which must not be changed.
func (m Message) Encode(p Protocol) (data []byte, binaryFrame bool) {
	parts, binaryFrame := m.Parts(p)
	if len(parts) == 1 {
		return parts[0], binaryFrame
	}
	return bytes.Join(parts, nil), binaryFrame
}

// Parts returns the parts that Encode joins. They are not copied and must not be changed. A content in
// a file is an empty part.
func (m Message) Parts(p Protocol) (parts [][]byte, binaryFrame bool) {
	if p == V1 {
		return m.partsV1(), true
	}
	text := m.textParts()
	if len(m.Buffers) == 0 {
		return text, false
	}
	n := len(m.Buffers) + 1
	at := 4 * (n + 1)
	head := binary.BigEndian.AppendUint32(make([]byte, 0, at), uint32(n))
	head = binary.BigEndian.AppendUint32(head, uint32(at))
	for _, part := range text {
		at += len(part)
	}
	for _, b := range m.Buffers {
		head = binary.BigEndian.AppendUint32(head, uint32(at))
		at += len(b)
	}
	return slices.Concat([][]byte{head}, text, m.Buffers), true
}

func (m Message) partsV1() [][]byte {
	if m.v1 != nil {
		return [][]byte{m.v1}
	}
	parts := append([][]byte{nil, []byte(m.Channel), m.Header, m.Parent, m.Metadata, m.Content}, m.Buffers...)
	at := 8 * (len(parts) + 1)
	head := binary.LittleEndian.AppendUint64(make([]byte, 0, at), uint64(len(parts)))
	for i, part := range parts { // the first ends at the end of the head
		if at += len(part); i == 5 && m.Long != nil {
			at += m.contentSize()
		}
		head = binary.LittleEndian.AppendUint64(head, uint64(at))
	}
	parts[0] = head
	return parts
}

// textParts returns the message as text, without validation: it has been checked.
func (m Message) textParts() [][]byte {
	return [][]byte{
		[]byte(`{"header":`), m.Header, []byte(`,"parent_header":`), m.Parent, []byte(`,"metadata":`), m.Metadata, []byte(`,"content":`), m.Content,
		[]byte(`,"channel":`), quote(m.Channel), []byte(`,"msg_id":`), quote(m.Head.ID), []byte(`,"msg_type":`), quote(m.Head.Type), []byte(`,"buffers":[]}`),
	}
}

func quote(s string) []byte {
	if !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' || strings.ContainsRune(`"\<>&`, c) }) {
		return append(append(append(make([]byte, 0, len(s)+2), '"'), s...), '"')
	}
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // marshalling a string cannot fail
	}
	return b
}

// New makes a message as if it came from a kernel. It carries the kernel's own session:
// @jupyterlab/services silently drops messages whose session differs from that of the message
// before.
func New(session string, parent []byte, channel, kind string, content any) Message {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		panic(err) // rand.Read never returns an error
	}
	m := Message{Channel: channel, Parent: parent, Metadata: []byte("{}"), Head: Head{ID: hex.EncodeToString(id[:]), Session: session, Type: kind}}
	m.Header = mustJSON(map[string]string{
		"msg_id": m.Head.ID, "msg_type": kind, "session": session, "username": "keyway", "version": "5.3",
		"date": time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"),
	})
	m.Content = mustJSON(content)
	if json.Unmarshal(parent, &m.Origin) != nil {
		m.Parent = []byte("{}")
	}
	return m
}

// mustJSON encodes maps and structs of strings, numbers and truth values.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// State returns the kernel's state in a status message: busy, idle, restarting, dead or another
// word. It is empty for other messages.
func (m Message) State() string {
	var s struct {
		State string `json:"execution_state"`
	}
	if m.Channel != "iopub" || m.Head.Type != "status" || json.Unmarshal(m.Content, &s) != nil {
		return ""
	}
	return s.State
}
