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

// writes records the writes to a connection.
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

// TestSmallFramesAreJoined checks that the header of an answer is sent with the first bytes of the
// body and waits for them at most a millisecond, that small updates of windows are sent with the
// next write, and that nothing else waits.
func TestSmallFramesAreJoined(t *testing.T) {
	var (
		header = []byte("\x00\x00\x03\x01\x04\x00\x00\x00\x01abc")
		last   = []byte("\x00\x00\x03\x01\x05\x00\x00\x00\x01abc") // without a body
		part   = []byte("\x00\x00\x03\x01\x00\x00\x00\x00\x01abc") // continues in another frame
		two    = []byte("\x00\x00\x01\x01\x04\x00\x00\x00\x01a\x00\x00\x00\x04\x01\x00\x00\x00\x00")
		body   = []byte("\x00\x00\x02\x00\x00\x00\x00\x00\x01hi")
		update = []byte("\x00\x00\x04\x08\x00\x00\x00\x00\x01\x00\x00\x10\x00")
		much   = []byte("\x00\x00\x04\x08\x00\x00\x00\x00\x01\x00\x02\x00\x00")
		most   = []byte("\x00\x00\x04\x08\x00\x00\x00\x00\x01\x7f\xff\xff\xff")
		large  = append([]byte("\x00\x20\x00\x00\x00\x00\x00\x00\x01"), make([]byte, 0x2000)...)
	)
	join := func(p ...[]byte) []byte { return bytes.Join(p, nil) }
	for name, c := range map[string]struct {
		in   [][]byte
		want [][]byte // at once
		rest []byte   // that waits for the next write
	}{
		"body":          {[][]byte{header, body, body}, [][]byte{join(header, body), body}, nil},
		"large body":    {[][]byte{header, large}, [][]byte{header, large}, nil},
		"no body":       {[][]byte{last}, [][]byte{last}, nil},
		"half a header": {[][]byte{part}, [][]byte{part}, nil},
		"two frames":    {[][]byte{two}, [][]byte{two}, nil},
		"two answers":   {[][]byte{header, header}, [][]byte{join(header, header)}, nil},
		"waiting":       {[][]byte{header}, nil, nil},
		"an update":     {[][]byte{update}, nil, update},
		"and a body":    {[][]byte{update, update, body}, [][]byte{join(update, update, body)}, nil},
		"and much":      {[][]byte{update, large}, [][]byte{update, large}, nil},
		"and a header":  {[][]byte{update, header, body}, [][]byte{join(update, header, body)}, nil},
		"after it":      {[][]byte{header, update, body}, [][]byte{join(header, update, body)}, nil},
		"before none":   {[][]byte{update, header}, nil, nil},
		"two updates":   {[][]byte{join(update, update), body}, [][]byte{join(update, update, body)}, nil},
		"a large one":   {[][]byte{update, much}, [][]byte{join(update, much)}, nil},
		"the largest":   {[][]byte{join(most, most), body}, [][]byte{join(most, most), body}, nil},
		"many":          {slices.Repeat([][]byte{update}, 17), [][]byte{bytes.Repeat(update, 17)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w writes
				j := joinWrites(&w)
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
				sent := join(w.sofar()...)
				if got, want := join(sent, c.rest), join(c.in...); !bytes.Equal(got, want) {
					t.Errorf("after %v: %q, want %q", headerWait, sent, want)
				}
			})
		})
	}
}
