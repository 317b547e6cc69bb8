//go:build linux

package holder

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"keyway/internal/session/joblog"
	"keyway/internal/session/wire"
)

// TestRing checks that the ring holds the end of the appended bytes, whatever the sizes.
func TestRing(t *testing.T) {
	for range 200 {
		var r ring
		var want gathered
		streams := []wire.Stream{}
		limit := ringStart << rand.IntN(3)
		for range rand.IntN(60) {
			s := wire.Stdout + wire.Stream(rand.IntN(2))
			p := make([]byte, rand.IntN(ringStart))
			for i := range p {
				p[i] = byte(rand.Uint32())
				streams = append(streams, s)
			}
			r.append(s, p, limit)
			_ = want.Put(s, p)
		}
		checkRing(t, &r, want.all.Bytes(), streams, limit)
	}
	var many ring
	for i := range 3 * ringMarks {
		many.append(wire.Stdout+wire.Stream(i%2), []byte{byte(i)}, ringStart)
	}
	if len(many.marks) > ringMarks+ringMarks/2 || many.end-many.start > ringMarks+ringMarks/2 {
		t.Errorf("%d marks for %d bytes", len(many.marks), many.end-many.start)
	}
}

func checkRing(t *testing.T, r *ring, want []byte, streams []wire.Stream, limit int) {
	t.Helper()
	if r.end != uint64(len(want)) || len(r.buf) > limit {
		t.Fatalf("end %d of %d, %d bytes in memory", r.end, len(want), len(r.buf))
	}
	if kept := r.end - r.start; kept < min(r.end, uint64(limit)) {
		t.Fatalf("only %d of %d bytes are kept", kept, r.end)
	}
	buf := make([]byte, 1000)
	for at := r.start; at < r.end; {
		n, s := r.read(buf, at)
		if n == 0 || !bytes.Equal(buf[:n], want[at:at+uint64(n)]) || slices.ContainsFunc(streams[at:at+uint64(n)], func(x wire.Stream) bool { return x != s }) {
			t.Fatalf("wrong %d bytes at %d", n, at)
		}
		at += uint64(n)
	}
}

func TestWhoWaitsForTheEndIsNotWokenByOutput(t *testing.T) {
	l, err := joblog.Create(t.TempDir(), joblog.Kept)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	output := newOutput(l)
	reader, waiter := output.newWatcher(true), output.newWatcher(false)
	woken := func(w *watcher) bool {
		select {
		case <-w.wake:
			return true
		default:
			return false
		}
	}
	output.append(wire.Stdout, []byte("line\n"))
	if !woken(reader) || woken(waiter) {
		t.Error("output woke those who wait for the end, or not those who read it")
	}
	output.end()
	if !woken(reader) || !woken(waiter) {
		t.Error("the end did not wake all")
	}
}

// gathered keeps the streams of an output separately, and counts the missing bytes.
type gathered struct {
	streams [3]bytes.Buffer
	all     bytes.Buffer
	gaps    uint64
}

func (g *gathered) Put(s wire.Stream, p []byte) error {
	g.streams[s].Write(p)
	g.all.Write(p)
	return nil
}

func (g *gathered) Picture([]byte) error { return nil }
func (g *gathered) Gap(n uint64) error   { g.gaps += n; return nil }
