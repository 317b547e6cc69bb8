//go:build linux

package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"unicode/utf8"
)

// Bounds on frames.
const (
	MaxPayload = 64 << 10 // of any frame
	MaxData    = 32 << 10 // bytes of input in one frame that this program writes
	MaxOutput  = 60 << 10 // bytes of output in one frame
	MaxText    = 1 << 10  // of a refusal
	MaxWindow  = 10_000   // rows or columns
	Version    = 2
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
	typePassed  byte = 9
	typeWelcome byte = 16
	typeScreen  byte = 17
	typeOutput  byte = 18
	typeSkipped byte = 19
	typeLive    byte = 20
	typeEnded   byte = 21
	typeRefused byte = 22
	typeAsk     byte = 23
	typeSized   byte = 24
	typeLogged  byte = 25
)

// Stream is the origin of a byte of output.
type Stream byte

// The streams of a job.
const (
	TTY    Stream = 0 // the job's terminal
	Stdout Stream = 1
	Stderr Stream = 2
	Lost   Stream = 3 // only in the log: missing bytes
)

// Flags of hello.
const (
	FlagInput  byte = 1 << iota // may send input, size, signal and end
	FlagOutput                  // requests output; without it, only the end is sent
	FlagTail                    // start this many bytes before the end, not at this offset
	FlagScreen                  // for a user at a terminal: the present screen, instead of output that is far behind; with FlagTail this many lines of history first
	FlagAsk                     // ask what Ctrl-C is to mean
	FlagKeys                    // input comes from a terminal, which answers questions by itself
	FlagWhole                   // requests all output: the job waits for this viewer, and no output is skipped
	FlagLog                     // output in the log may be announced with Logged instead of sent
)

// Message is one frame. Its data is valid until the next read from the same peer.
type Message interface {
	kind() byte
	append(b []byte) []byte // payload
}

// The messages; docs/PROTOCOL.session.md has the frames. The viewer sends the first group and
// Passed, the holder the others.
type (
	// Hello opens a connection. From is the offset at which output shall begin; its unit depends on
	// FlagTail and FlagScreen.
	Hello struct {
		Version, Flags byte
		From           uint64
		Rows, Cols     uint16
	}
	// Input is typed or piped input for the job.
	Input struct{ Data []byte }
	// EOF ends the job's input.
	EOF struct{}
	// Size is the size of the viewer's terminal.
	Size struct{ Rows, Cols uint16 }
	// Signal asks for a signal to the job.
	Signal struct{ Number byte }
	// End asks to end the job: it has that long to end by itself.
	End struct{ GraceMillis uint32 }
	// Renew comes in the place of Hello, in all versions: it asks the holder to become
	// the program.
	Renew struct{ Program string }

	// Welcome answers Hello.
	Welcome struct {
		Version byte
		TTY     bool
		Offset  uint64 // where output will start
	}
	// ScreenData is for the terminal, and no part of the log.
	ScreenData struct{ Data []byte }
	// Output is output of the job.
	Output struct {
		Stream Stream
		Offset uint64
		Data   []byte
	}
	// Skipped reports bytes that are not sent.
	Skipped struct{ Offset, Count uint64 }
	// Live reports that all output until now was sent.
	Live struct{}
	// Ended reports the end of the job.
	Ended struct {
		Code   uint32
		Signal byte
	}
	// Refused is the reason for which the holder ends the connection.
	Refused struct{ Text string }
	// Ask reports that Ctrl-C was typed and not passed on.
	Ask struct{}
	// Sized is the size of the job's terminal for the output that follows.
	Sized struct{ Rows, Cols uint16 }
	// Logged is output that is not sent: it is in the log, in the segment that begins at
	// Segment. The viewer reads it there, and answers with Passed.
	Logged struct {
		Stream          Stream
		Offset, Segment uint64
		Count           uint32
	}
	// Passed is the offset up to which the viewer has passed on the Logged output.
	Passed struct{ Offset uint64 }
)

func (Hello) kind() byte      { return typeHello }
func (Input) kind() byte      { return typeInput }
func (EOF) kind() byte        { return typeEOF }
func (Size) kind() byte       { return typeSize }
func (Signal) kind() byte     { return typeSignal }
func (End) kind() byte        { return typeEnd }
func (Renew) kind() byte      { return typeRenew }
func (Key) kind() byte        { return typeKey }
func (Welcome) kind() byte    { return typeWelcome }
func (ScreenData) kind() byte { return typeScreen }
func (Output) kind() byte     { return typeOutput }
func (Skipped) kind() byte    { return typeSkipped }
func (Live) kind() byte       { return typeLive }
func (Ended) kind() byte      { return typeEnded }
func (Refused) kind() byte    { return typeRefused }
func (Ask) kind() byte        { return typeAsk }
func (Sized) kind() byte      { return typeSized }
func (Logged) kind() byte     { return typeLogged }
func (Passed) kind() byte     { return typePassed }

var be = binary.BigEndian

func (m Hello) append(b []byte) []byte {
	b = append(b, m.Version, m.Flags)
	b = be.AppendUint64(b, m.From)
	return Size{m.Rows, m.Cols}.append(b)
}
func (m Input) append(b []byte) []byte { return append(b, m.Data...) }
func (EOF) append(b []byte) []byte     { return b }
func (m Size) append(b []byte) []byte {
	return be.AppendUint16(be.AppendUint16(b, m.Rows), m.Cols)
}
func (m Signal) append(b []byte) []byte { return append(b, m.Number) }
func (m Renew) append(b []byte) []byte  { return append(b, m.Program...) }
func (k Key) append(b []byte) []byte    { return append(append(b, k.mods), k.name...) }
func (m End) append(b []byte) []byte    { return be.AppendUint32(b, m.GraceMillis) }
func (m Welcome) append(b []byte) []byte {
	tty := byte(0)
	if m.TTY {
		tty = 1
	}
	return be.AppendUint64(append(b, m.Version, tty), m.Offset)
}
func (m ScreenData) append(b []byte) []byte { return append(b, m.Data...) }
func (m Output) append(b []byte) []byte {
	return append(be.AppendUint64(append(b, byte(m.Stream)), m.Offset), m.Data...)
}
func (m Skipped) append(b []byte) []byte {
	return be.AppendUint64(be.AppendUint64(b, m.Offset), m.Count)
}
func (Live) append(b []byte) []byte { return b }
func (m Ended) append(b []byte) []byte {
	return append(be.AppendUint32(b, m.Code), m.Signal)
}
func (m Refused) append(b []byte) []byte { return append(b, m.Text...) }
func (Ask) append(b []byte) []byte       { return b }
func (m Sized) append(b []byte) []byte   { return Size(m).append(b) }
func (m Logged) append(b []byte) []byte {
	return be.AppendUint32(Skipped{m.Offset, m.Segment}.append(append(b, byte(m.Stream))), m.Count)
}
func (m Passed) append(b []byte) []byte { return be.AppendUint64(b, m.Offset) }

// errMalformed is the error for every frame that cannot be decoded. It closes the connection.
var errMalformed = errors.New("malformed frame")

func malformed(kind byte, why string) error {
	return fmt.Errorf("%w of type %d: %s", errMalformed, kind, why)
}

// lengths are the payload lengths of the frames whose length is fixed.
var lengths = map[byte]int{
	typeHello: 14, typeEOF: 0, typeSize: 4, typeSignal: 1, typeEnd: 4,
	typeWelcome: 10, typeSkipped: 16, typeLive: 0, typeEnded: 5, typeAsk: 0, typeSized: 4,
	typeLogged: 21, typePassed: 8,
}

// decode reads the payload of a frame. It accepts only what append produces.
func decode(kind byte, p []byte) (Message, error) {
	if want, ok := lengths[kind]; ok && len(p) != want {
		return nil, malformed(kind, "wrong length")
	}
	switch kind {
	case typeHello:
		return decodeHello(p)
	case typeInput:
		return Input{p}, nil
	case typeEOF:
		return EOF{}, nil
	case typeSize:
		return decodeSize(p)
	case typeSignal:
		if p[0] == 0 || p[0] > 64 {
			return nil, malformed(kind, "no such signal")
		}
		return Signal{p[0]}, nil
	case typeEnd:
		return End{be.Uint32(p)}, nil
	case typeRenew:
		if len(p) > MaxText || !filepath.IsAbs(string(p)) {
			return nil, malformed(kind, "not a path")
		}
		return Renew{string(p)}, nil
	case typeKey:
		if len(p) < 2 || !(Key{p[0], string(p[1:])}).known() {
			return nil, malformed(kind, "no such key")
		}
		return Key{p[0], string(p[1:])}, nil
	case typePassed:
		return Passed{be.Uint64(p)}, nil
	case typeScreen:
		return ScreenData{p}, nil
	case typeOutput:
		return decodeOutput(p)
	case typeSized:
		m, err := decodeSize(p)
		return Sized(m), err
	case typeWelcome, typeSkipped, typeLive, typeEnded, typeRefused, typeAsk, typeLogged:
		return decodeNews(kind, p)
	}
	return nil, malformed(kind, "unknown type")
}

func decodeHello(p []byte) (Message, error) {
	m := Hello{Version: p[0], Flags: p[1], From: be.Uint64(p[2:])}
	window, err := decodeSize(p[10:])
	if err != nil {
		return nil, err
	}
	m.Rows, m.Cols = window.Rows, window.Cols
	return m, nil
}

func decodeSize(p []byte) (Size, error) {
	m := Size{be.Uint16(p), be.Uint16(p[2:])}
	if m.Rows > MaxWindow || m.Cols > MaxWindow {
		return Size{}, malformed(typeSize, "no terminal is that large")
	}
	return m, nil
}

func decodeOutput(p []byte) (Message, error) {
	if len(p) < 9 || Stream(p[0]) > Stderr {
		return nil, malformed(typeOutput, "no such stream")
	}
	return Output{Stream(p[0]), be.Uint64(p[1:]), p[9:]}, nil
}

func decodeLogged(p []byte) (Message, error) {
	m := Logged{Stream(p[0]), be.Uint64(p[1:]), be.Uint64(p[9:]), be.Uint32(p[17:])}
	if m.Stream > Stderr || m.Segment > m.Offset {
		return nil, malformed(typeLogged, "not in the log")
	}
	return m, nil
}

func decodeNews(kind byte, p []byte) (Message, error) {
	switch kind {
	case typeWelcome:
		if p[1] > 1 {
			return nil, malformed(kind, "unknown flags")
		}
		return Welcome{p[0], p[1] == 1, be.Uint64(p[2:])}, nil
	case typeSkipped:
		return Skipped{be.Uint64(p), be.Uint64(p[8:])}, nil
	case typeLive:
		return Live{}, nil
	case typeAsk:
		return Ask{}, nil
	case typeLogged:
		return decodeLogged(p)
	case typeEnded:
		return Ended{be.Uint32(p), p[4]}, nil
	default:
		if len(p) > MaxText || !utf8.Valid(p) {
			return nil, malformed(kind, "not a short text")
		}
		return Refused{string(p)}, nil
	}
}

// Peer is one end of a connection between holder and viewer. One goroutine may read, any number
// may write.
type Peer struct {
	r        io.Reader
	in       []byte
	from, to int // bounds, in in, of the bytes that belong to no message yet
	w        io.Writer
	mu       sync.Mutex // guards out and the order of frames
	out      []byte
}

// peerBuffer is the least size of one read, in bytes.
const peerBuffer = 4 << 10

// NewPeer returns this end of a new connection.
func NewPeer(conn io.ReadWriter) *Peer { return &Peer{r: conn, w: conn} }

// ResumePeer is NewPeer for a connection from which the bytes unread have been read
// already.
func ResumePeer(conn io.ReadWriter, unread []byte) *Peer {
	return &Peer{r: conn, in: unread, to: len(unread), w: conn}
}

const (
	headerLen  = 4
	outputHead = 9 // of the payload of Output, before the data
)

// Read returns the next message, which is valid until the next call. It returns io.EOF at an
// end between two frames. After a deadline it may be called again and continues.
func (p *Peer) Read() (Message, error) {
	if err := p.fill(headerLen); err != nil {
		return nil, err
	}
	kind, size := p.in[p.from], p.in[p.from+1:]
	n := int(size[0])<<16 | int(size[1])<<8 | int(size[2])
	if n > MaxPayload {
		return nil, malformed(kind, "too long")
	}
	if err := p.fill(headerLen + n); err != nil {
		return nil, fmt.Errorf("in the middle of a frame: %w", noEOF(err))
	}
	payload := p.in[p.from+headerLen:][:n]
	p.from += headerLen + n
	return decode(kind, payload)
}

// fill reads until n bytes are available.
func (p *Peer) fill(n int) error {
	if p.from == p.to || p.from+n > len(p.in) {
		into := p.in
		if n > len(into) {
			into = make([]byte, max(n, peerBuffer))
		}
		p.to = copy(into, p.Unread())
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

// Unread returns the bytes that belong to no message yet.
func (p *Peer) Unread() []byte { return p.in[p.from:p.to] }

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Write sends messages in one piece.
func (p *Peer) Write(all ...Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = p.out[:0]
	if o, ok := all[0].(Output); ok && len(all) == 1 { // without a copy
		p.out = appendHead(p.out, o.kind(), outputHead+len(o.Data))
		parts := net.Buffers{Output{o.Stream, o.Offset, nil}.append(p.out), o.Data}
		_, err := parts.WriteTo(p.w)
		return err
	}
	for _, m := range all {
		p.out = appendFrame(p.out, m)
	}
	_, err := p.w.Write(p.out)
	return err
}

func appendFrame(b []byte, m Message) []byte {
	at := len(b)
	b = m.append(appendHead(b, m.kind(), 0))
	appendHead(b[:at], m.kind(), len(b)-at-headerLen)
	return b
}

// appendHead appends the header of a frame with a payload of n bytes.
func appendHead(b []byte, kind byte, n int) []byte {
	return append(b, kind, byte(n>>16), byte(n>>8), byte(n))
}

// Window is the size of a terminal.
type Window struct{ Rows, Cols uint16 }
