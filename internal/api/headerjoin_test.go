package api

import (
	"bytes"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// writes records what is written to a connection, write by write.
type writes struct {
	net.Conn
	mu  sync.Mutex
	all [][]byte
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, bytes.Clone(p))
	return len(p), nil
}

func (w *writes) sofar() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

// TestHeaderGoesWithBody checks that the header of an answer is sent with the first bytes of the
// body, that it waits for them at most a millisecond, and that nothing else waits.
func TestHeaderGoesWithBody(t *testing.T) {
	var (
		header = []byte("\x00\x00\x03\x01\x04\x00\x00\x00\x01abc")
		last   = []byte("\x00\x00\x03\x01\x05\x00\x00\x00\x01abc") // without a body
		part   = []byte("\x00\x00\x03\x01\x00\x00\x00\x00\x01abc") // goes on in another frame
		two    = []byte("\x00\x00\x01\x01\x04\x00\x00\x00\x01a\x00\x00\x00\x04\x01\x00\x00\x00\x00")
		body   = []byte("\x00\x00\x02\x00\x00\x00\x00\x00\x01hi")
		large  = append([]byte("\x00\x20\x00\x00\x00\x00\x00\x00\x01"), make([]byte, 0x2000)...)
	)
	for name, c := range map[string]struct {
		in   [][]byte
		want [][]byte // at once
	}{
		"body":          {[][]byte{header, body, body}, [][]byte{append(bytes.Clone(header), body...), body}},
		"large body":    {[][]byte{header, large}, [][]byte{header, large}},
		"no body":       {[][]byte{last}, [][]byte{last}},
		"half a header": {[][]byte{part}, [][]byte{part}},
		"two frames":    {[][]byte{two}, [][]byte{two}},
		"two answers":   {[][]byte{header, header}, [][]byte{append(bytes.Clone(header), header...)}},
		"waiting":       {[][]byte{header}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w writes
				j := joinHeaders(&w)
				for _, p := range c.in {
					if n, err := j.Write(p); n != len(p) || err != nil {
						t.Errorf("wrote %d of %d: %v", n, len(p), err)
					}
				}
				if got := w.sofar(); !slices.EqualFunc(got, c.want, bytes.Equal) {
					t.Errorf("wrote %q, want %q", got, c.want)
				}
				time.Sleep(headerWait + 1)
				synctest.Wait()
				if got, want := bytes.Join(w.sofar(), nil), bytes.Join(c.in, nil); !bytes.Equal(got, want) {
					t.Errorf("after %v: %q, want %q", headerWait, got, want)
				}
			})
		})
	}
}
