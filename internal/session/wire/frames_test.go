//go:build linux

package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// samples returns one message of each type, and their extremes.
func samples() []Message {
	return []Message{
		Hello{}, Hello{Version: Version, Flags: 0xff, From: 1<<64 - 1, Rows: MaxWindow, Cols: MaxWindow},
		Input{[]byte{}}, Input{[]byte("ls\r")}, Input{bytes.Repeat([]byte{0}, MaxPayload)}, EOF{}, Size{24, 80}, Signal{2}, Signal{64}, Key{Ctrl, "left"}, Key{0, "é"},
		End{10_000}, Welcome{Version, true, 5}, Welcome{}, ScreenData{[]byte("\x1b[?1049h")}, Ask{}, Output{TTY, 0, []byte{}},
		Output{Stderr, 1 << 40, []byte("line\n")}, Skipped{1, 2}, Live{}, Ended{0, 0}, Ended{137, 9}, Refused{"too many"}, Sized{24, 80}, Logged{Stderr, 1 << 30, 1 << 26, 1 << 22}, Passed{1<<64 - 1},
	}
}

func TestFramesComeBackAsTheyWere(t *testing.T) {
	var stream []byte
	for _, m := range samples() {
		stream = appendFrame(stream, m)
	}
	for name, r := range map[string]io.Reader{
		"at once": bytes.NewReader(stream), "by pieces": iotest.HalfReader(bytes.NewReader(stream)),
		"interrupted": &interruptedReader{r: iotest.HalfReader(bytes.NewReader(stream))},
	} {
		p := NewPeer(readOnly{r})
		read := func() (m Message, err error) {
			for m, err = p.Read(); errors.Is(err, os.ErrDeadlineExceeded); m, err = p.Read() {
				p = &Peer{r: p.r, in: bytes.Clone(p.Unread()), to: len(p.Unread())} // in the form of a handover
			}
			return m, err
		}
		for _, want := range samples() {
			got, err := read()
			if err != nil {
				t.Fatalf("%s: %T: %v", name, want, err)
			}
			if got.kind() != want.kind() || !bytes.Equal(got.append(nil), want.append(nil)) {
				t.Errorf("%s: %#v became %#v", name, want, got)
			}
		}
		if _, err := read(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: at the end: %v", name, err)
		}
	}
}

// interruptedReader meets a deadline at every second read.
type interruptedReader struct {
	r   io.Reader
	met bool
}

func (i *interruptedReader) Read(p []byte) (int, error) {
	if i.met = !i.met; i.met {
		return 0, os.ErrDeadlineExceeded
	}
	return i.r.Read(p[:min(len(p), 100)])
}

type readOnly struct{ io.Reader }

func (readOnly) Write(p []byte) (int, error) { return len(p), nil }

func TestBrokenFrames(t *testing.T) {
	for name, frame := range map[string][]byte{
		"too long":         {typeInput, 1, 0, 1},
		"unknown":          {77, 0, 0, 0},
		"short hello":      {typeHello, 0, 0, 1, 0},
		"huge window":      appendFrame(nil, Size{MaxWindow + 1, 1}),
		"huge hello":       appendFrame(nil, Hello{Cols: MaxWindow + 1}),
		"no key":           appendFrame(nil, Key{0, "left up"}),
		"no character":     appendFrame(nil, Key{0, "\x1b"}),
		"half a key":       {typeKey, 0, 0, 2, 0, 0xc3},
		"unknown modifier": appendFrame(nil, Key{8, "left"}),
		"key of 1":         {typeKey, 0, 0, 1, 0},
		"signal 65":        appendFrame(nil, Signal{65}),
		"stream 3":         appendFrame(nil, Output{Lost, 0, nil}),
		"logged, lost":     appendFrame(nil, Logged{Lost, 5, 0, 1}),
		"logged before":    appendFrame(nil, Logged{Stdout, 5, 6, 1}),
		"short logged":     {typeLogged, 0, 0, 4, 1, 0, 0, 0},
		"short passed":     {typePassed, 0, 0, 1, 0},
		"output of 8":      {typeOutput, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0},
		"long refusal":     appendFrame(nil, Refused{strings.Repeat("x", MaxText+1)}),
		"refusal not text": appendFrame(nil, Refused{"\xff"}),
		"welcome flags":    {typeWelcome, 0, 0, 10, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0},
	} {
		if m, err := NewPeer(readOnly{bytes.NewReader(frame)}).Read(); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %#v, %v", name, m, err)
		}
	}
	if _, err := NewPeer(readOnly{bytes.NewReader([]byte{typeSize, 0, 0, 4, 1})}).Read(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a frame that is cut off: %v", err)
	}
}

// FuzzFrames checks that a decoded frame encodes to the same bytes, and that nothing else is
// accepted.
func FuzzFrames(f *testing.F) {
	var all []byte
	for _, m := range samples() {
		one := appendFrame(nil, m)
		f.Add(one)
		all = append(all, one...)
	}
	f.Add(all)
	if len(all) == 0 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		p := NewPeer(readOnly{bytes.NewReader(stream)})
		rest := stream
		for {
			m, err := p.Read()
			if err != nil {
				return
			}
			frame := appendFrame(nil, m)
			if !bytes.HasPrefix(rest, frame) {
				t.Fatalf("%#v encodes to %x, came from %x", m, frame, rest[:min(len(rest), len(frame))])
			}
			rest = rest[len(frame):]
			if cap(p.in) > headerLen+MaxPayload {
				t.Fatalf("a buffer of %d bytes", cap(p.in))
			}
		}
	})
}

// TestTheDocumentedExample checks the bytes of the example in the protocol's description.
func TestTheDocumentedExample(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/PROTOCOL.session.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(doc)) {
		if hexed, ok := strings.CutPrefix(line, "    "); ok && (hexed[0] == '>' || hexed[0] == '<') {
			got = append(got, strings.Join(strings.Fields(hexed[1:]), ""))
		}
	}
	var want []string
	for _, m := range []Message{Hello{Version: Version}, Welcome{Version: Version, Offset: 6}, Ended{Code: 3}} {
		want = append(want, hex.EncodeToString(appendFrame(nil, m)))
	}
	if !slices.Equal(got, want) {
		t.Errorf("documented: %q\nsent:       %q", got, want)
	}
}
