//go:build linux

package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"unicode/utf8"
)

// Bounds on what comes over the socket.
const (
	maxPayload = 64 << 10 // of any frame
	maxData    = 32 << 10 // bytes of output in one frame, as written here
	maxText    = 1 << 10  // of a refusal
	maxWindow  = 10_000   // rows or columns
	version    = 2
)

// Frame types; PROTOCOL.session.md has the table.
const (
	typeHello   byte = 1
	typeInput   byte = 2
	typeEOF     byte = 3
	typeSize    byte = 4
	typeSignal  byte = 5
	typeEnd     byte = 6
	typeRenew   byte = 7
	typeKey     byte = 8
	typeWelcome byte = 16
	typeScreen  byte = 17
	typeOutput  byte = 18
	typeSkipped byte = 19
	typeLive    byte = 20
	typeEnded   byte = 21
	typeRefused byte = 22
	typeAsk     byte = 23
	typeSized   byte = 24
)

// stream says where a byte of output came from.
type stream byte

const (
	terminal stream = 0 // the job's terminal
	stdout   stream = 1
	stderr   stream = 2
	lost     stream = 3 // in the log only: bytes that are not there
)

// Flags of hello.
const (
	flagInput  byte = 1 << iota // may send input, size, signal and end
	flagOutput                  // wants output; without it only the end is told
	flagTail                    // start this many bytes before the end, not at this offset
	flagScreen                  // for eyes on a terminal: rather the screen as it is than far behind; with flagTail this many lines of history first
	flagAsk                     // ask what Ctrl-C is to mean
	flagKeys                    // input comes from a terminal, which answers questions by itself
	flagWhole                   // wants all output: the job waits rather than that some is lost
	helloFlags = flagInput | flagOutput | flagTail | flagScreen | flagAsk | flagKeys | flagWhole
)

// message is one frame. What a message points to is valid until the next read
// from the same peer.
type message interface {
	kind() byte
	append(b []byte) []byte // payload
}

type (
	hello struct {
		Version, Flags byte
		From           uint64
		Rows, Cols     uint16
	}
	input   struct{ Data []byte }
	eof     struct{}
	size    struct{ Rows, Cols uint16 }
	signalM struct{ Number byte }
	end     struct{ GraceMillis uint32 }
	renewM  struct{ Program string } // in place of hello, in all versions
	welcome struct {
		Version byte
		TTY     bool
		Offset  uint64 // where output will start
	}
	screenData struct{ Data []byte } // for the terminal, not part of the log
	output     struct {
		Stream stream
		Offset uint64
		Data   []byte
	}
	skipped struct{ Offset, Count uint64 }
	live    struct{}
	ended   struct {
		Code   uint32
		Signal byte
	}
	refused struct{ Text string }
	ask     struct{}                    // Ctrl-C was typed and not passed on
	sizedM  struct{ Rows, Cols uint16 } // of the job's terminal, for the output that follows
)

func (hello) kind() byte      { return typeHello }
func (input) kind() byte      { return typeInput }
func (eof) kind() byte        { return typeEOF }
func (size) kind() byte       { return typeSize }
func (signalM) kind() byte    { return typeSignal }
func (end) kind() byte        { return typeEnd }
func (renewM) kind() byte     { return typeRenew }
func (key) kind() byte        { return typeKey }
func (welcome) kind() byte    { return typeWelcome }
func (screenData) kind() byte { return typeScreen }
func (output) kind() byte     { return typeOutput }
func (skipped) kind() byte    { return typeSkipped }
func (live) kind() byte       { return typeLive }
func (ended) kind() byte      { return typeEnded }
func (refused) kind() byte    { return typeRefused }
func (ask) kind() byte        { return typeAsk }
func (sizedM) kind() byte     { return typeSized }

var be = binary.BigEndian

func (m hello) append(b []byte) []byte {
	b = append(b, m.Version, m.Flags)
	b = be.AppendUint64(b, m.From)
	return size{m.Rows, m.Cols}.append(b)
}
func (m input) append(b []byte) []byte { return append(b, m.Data...) }
func (eof) append(b []byte) []byte     { return b }
func (m size) append(b []byte) []byte {
	return be.AppendUint16(be.AppendUint16(b, m.Rows), m.Cols)
}
func (m signalM) append(b []byte) []byte { return append(b, m.Number) }
func (m renewM) append(b []byte) []byte  { return append(b, m.Program...) }
func (k key) append(b []byte) []byte     { return append(append(b, k.mods), k.name...) }
func (m end) append(b []byte) []byte     { return be.AppendUint32(b, m.GraceMillis) }
func (m welcome) append(b []byte) []byte {
	tty := byte(0)
	if m.TTY {
		tty = 1
	}
	return be.AppendUint64(append(b, m.Version, tty), m.Offset)
}
func (m screenData) append(b []byte) []byte { return append(b, m.Data...) }
func (m output) append(b []byte) []byte {
	return append(be.AppendUint64(append(b, byte(m.Stream)), m.Offset), m.Data...)
}
func (m skipped) append(b []byte) []byte {
	return be.AppendUint64(be.AppendUint64(b, m.Offset), m.Count)
}
func (live) append(b []byte) []byte { return b }
func (m ended) append(b []byte) []byte {
	return append(be.AppendUint32(b, m.Code), m.Signal)
}
func (m refused) append(b []byte) []byte { return append(b, m.Text...) }
func (ask) append(b []byte) []byte       { return b }
func (m sizedM) append(b []byte) []byte  { return size(m).append(b) }

// errMalformed is what every frame that cannot be understood ends in; the
// connection is closed on it.
var errMalformed = errors.New("malformed frame")

func malformed(kind byte, why string) error {
	return fmt.Errorf("%w of type %d: %s", errMalformed, kind, why)
}

// lengths are the exact payload lengths of the frames that have one.
var lengths = map[byte]int{
	typeHello: 14, typeEOF: 0, typeSize: 4, typeSignal: 1, typeEnd: 4,
	typeWelcome: 10, typeSkipped: 16, typeLive: 0, typeEnded: 5, typeAsk: 0, typeSized: 4,
}

// decode reads the payload of a frame. It accepts only what append makes.
func decode(kind byte, p []byte) (message, error) {
	if want, ok := lengths[kind]; ok && len(p) != want {
		return nil, malformed(kind, "wrong length")
	}
	switch kind {
	case typeHello:
		return decodeHello(p)
	case typeInput:
		return input{p}, nil
	case typeEOF:
		return eof{}, nil
	case typeSize:
		return decodeSize(p)
	case typeSignal:
		if p[0] == 0 || p[0] > 64 {
			return nil, malformed(kind, "no such signal")
		}
		return signalM{p[0]}, nil
	case typeEnd:
		return end{be.Uint32(p)}, nil
	case typeRenew:
		if len(p) > maxText || !filepath.IsAbs(string(p)) {
			return nil, malformed(kind, "not a path")
		}
		return renewM{string(p)}, nil
	case typeKey:
		if len(p) < 2 || !(key{p[0], string(p[1:])}).known() {
			return nil, malformed(kind, "no such key")
		}
		return key{p[0], string(p[1:])}, nil
	case typeScreen:
		return screenData{p}, nil
	case typeOutput:
		return decodeOutput(p)
	case typeSized:
		m, err := decodeSize(p)
		return sizedM(m), err
	case typeWelcome, typeSkipped, typeLive, typeEnded, typeRefused, typeAsk:
		return decodeNews(kind, p)
	}
	return nil, malformed(kind, "unknown type")
}

func decodeHello(p []byte) (message, error) {
	m := hello{Version: p[0], Flags: p[1], From: be.Uint64(p[2:])}
	if m.Version == version && m.Flags&^helloFlags != 0 { // one of another version is refused in words
		return nil, malformed(typeHello, "unknown flags")
	}
	window, err := decodeSize(p[10:])
	if err != nil {
		return nil, err
	}
	m.Rows, m.Cols = window.Rows, window.Cols
	return m, nil
}

func decodeSize(p []byte) (size, error) {
	m := size{be.Uint16(p), be.Uint16(p[2:])}
	if m.Rows > maxWindow || m.Cols > maxWindow {
		return size{}, malformed(typeSize, "no terminal is that large")
	}
	return m, nil
}

func decodeOutput(p []byte) (message, error) {
	if len(p) < 9 || stream(p[0]) > stderr {
		return nil, malformed(typeOutput, "no such stream")
	}
	return output{stream(p[0]), be.Uint64(p[1:]), p[9:]}, nil
}

func decodeNews(kind byte, p []byte) (message, error) {
	switch kind {
	case typeWelcome:
		if p[1] > 1 {
			return nil, malformed(kind, "unknown flags")
		}
		return welcome{p[0], p[1] == 1, be.Uint64(p[2:])}, nil
	case typeSkipped:
		return skipped{be.Uint64(p), be.Uint64(p[8:])}, nil
	case typeLive:
		return live{}, nil
	case typeAsk:
		return ask{}, nil
	case typeEnded:
		return ended{be.Uint32(p), p[4]}, nil
	default:
		if len(p) > maxText || !utf8.Valid(p) {
			return nil, malformed(kind, "not a short text")
		}
		return refused{string(p)}, nil
	}
}

// peer is one end of a connection between holder and viewer. One goroutine may
// read, any number may write.
type peer struct {
	r        io.Reader
	in       []byte
	from, to int // of in: what has come and is in no message yet
	w        io.Writer
	mu       sync.Mutex // guards out and the order of frames
	out      []byte
}

// peerBuffer is what one read takes at least, in bytes.
const peerBuffer = 4 << 10

func newPeer(conn io.ReadWriter) *peer { return &peer{r: conn, w: conn} }

// resumePeer is newPeer for a connection of which some has been read: unread.
func resumePeer(conn io.ReadWriter, unread []byte) *peer {
	return &peer{r: conn, in: unread, to: len(unread), w: conn}
}

const headerLen = 4

// read returns the next message, which is valid until the next call, and io.EOF at an
// end between two frames. After a deadline it may be called again, and goes on where
// it was.
func (p *peer) read() (message, error) {
	if err := p.fill(headerLen); err != nil {
		return nil, err
	}
	kind, size := p.in[p.from], p.in[p.from+1:]
	n := int(size[0])<<16 | int(size[1])<<8 | int(size[2])
	if n > maxPayload {
		return nil, malformed(kind, "too long")
	}
	if err := p.fill(headerLen + n); err != nil {
		return nil, fmt.Errorf("in the middle of a frame: %w", noEOF(err))
	}
	payload := p.in[p.from+headerLen:][:n]
	p.from += headerLen + n
	return decode(kind, payload)
}

// fill reads until n bytes are there.
func (p *peer) fill(n int) error {
	if p.from == p.to || p.from+n > len(p.in) {
		into := p.in
		if n > len(into) {
			into = make([]byte, max(n, peerBuffer))
		}
		p.to = copy(into, p.unread())
		p.in, p.from = into, 0
	}
	for p.to-p.from < n {
		got, err := p.r.Read(p.in[p.to:])
		p.to += got
		if err != nil && p.to-p.from < n {
			if p.to > p.from {
				err = noEOF(err)
			}
			return err
		}
	}
	return nil
}

// unread is what has come and is in no message yet.
func (p *peer) unread() []byte { return p.in[p.from:p.to] }

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// write sends messages in one piece.
func (p *peer) write(all ...message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = p.out[:0]
	for _, m := range all {
		p.out = appendFrame(p.out, m)
	}
	_, err := p.w.Write(p.out)
	return err
}

func appendFrame(b []byte, m message) []byte {
	at := len(b)
	b = m.append(append(b, m.kind(), 0, 0, 0))
	n := len(b) - at - headerLen
	b[at+1], b[at+2], b[at+3] = byte(n>>16), byte(n>>8), byte(n)
	return b
}

// window is the size of a terminal.
type window struct{ rows, cols uint16 }
