package stream

import (
	"bytes"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// meddler is a path on which whole frames are repeated, swapped, lost, shortened, or repeated much
// later. No network does this, but a broken relay may.
type meddler struct {
	net.Conn
	up, down frameMeddler
}

func (m *meddler) Write(p []byte) (int, error) {
	if out := m.up.meddle(p); len(out) > 0 {
		if _, err := m.Conn.Write(out); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (m *meddler) Read(p []byte) (int, error) {
	var scrap [4096]byte
	for len(m.down.out) == 0 {
		n, err := m.Conn.Read(scrap[:])
		m.down.out = m.down.meddle(scrap[:n])
		if err != nil && len(m.down.out) == 0 {
			return 0, err
		}
	}
	n := copy(p, m.down.out)
	m.down.out = m.down.out[n:]
	return n, nil
}

// frameMeddler is one direction of a meddler.
type frameMeddler struct {
	pick              func(int) int
	begin             func(b []byte) int // length of the handshake at the start of b; 0: not known yet
	handshake, passed int                // its bytes, and how many were passed on
	in                []byte
	out               []byte // not yet read
	held              []byte // a frame that waits for the next to overtake it
	old               [][]byte
	did               *[mischiefs]atomic.Int32 // by all directions at once
}

// The faults.
const (
	repeated = iota
	swapped
	lost
	shortened
	saidAgain
	mischiefs
)

// meddle takes bytes as they arrive and returns those to pass on.
func (f *frameMeddler) meddle(p []byte) []byte {
	f.in = append(f.in, p...)
	if f.handshake == 0 {
		if f.handshake = f.begin(f.in); f.handshake == 0 {
			return nil
		}
	}
	n := min(f.handshake-f.passed, len(f.in))
	out := bytes.Clone(f.in[:n])
	f.in, f.passed = f.in[n:], f.passed+n
	for f.passed == f.handshake {
		fr, n, err := parseFrame(f.in)
		if err != nil || fr.typ == 0 {
			break
		}
		out = append(out, f.one(bytes.Clone(f.in[:n]))...)
		f.in = f.in[n:]
	}
	return out
}

// one returns the bytes to pass on for one frame.
func (f *frameMeddler) one(frame []byte) (out []byte) {
	what := f.pick(40 * mischiefs)
	if what == saidAgain && len(f.old) == 0 || what == swapped && f.held != nil {
		what = mischiefs
	}
	switch what {
	case repeated:
		out = slices.Concat(frame, frame)
	case swapped:
		f.did[what].Add(1)
		f.held = frame
		return nil
	case lost:
	case shortened:
		out = frame[:f.pick(len(frame))]
	case saidAgain:
		out = slices.Concat(frame, f.old[f.pick(len(f.old))])
	default:
		out = frame
	}
	if what < mischiefs {
		f.did[what].Add(1)
	}
	if len(f.old) < 100 {
		f.old = append(f.old, frame)
	}
	out = append(out, f.held...)
	f.held = nil
	return out
}

// upBegins and downBegin return the lengths of the two sides of a handshake.
func upBegins(b []byte) int {
	switch {
	case len(b) <= len(Magic):
		return 0
	case b[len(Magic)] == kindOpen:
		return openLen
	default:
		return resumeLen + commitLen
	}
}

func downBegins(b []byte) int {
	switch {
	case len(b) < 3:
		return 0
	case b[0] == kindOpened:
		return openedLen
	case b[0] == kindResumed:
		return resumedLen
	default:
		return 3 + int(b[2]) + 64 + 4
	}
}

// TestMeddledFrames checks that all bytes arrive unchanged and in order, whatever happens to whole
// frames.
func TestMeddledFrames(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	var did [mischiefs]atomic.Int32
	for i := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			t.Logf("seed %d, run %d", seed, i)
			meddled(t, rand.New(rand.NewPCG(seed, i)), &did)
		})
	}
	for what := range did {
		if did[what].Load() == 0 {
			t.Errorf("mischief %d was never done", what)
		}
	}
}

func meddled(t *testing.T, r *rand.Rand, did *[mischiefs]atomic.Int32) {
	l := newLab(t)
	defer l.close()
	var mu sync.Mutex // r is used by many
	pick := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return r.IntN(n)
	}
	paths := 0
	l.net.wrap = func(c net.Conn) net.Conn {
		if paths++; paths == 1 || paths > 200 {
			return c // the stream was opened, and the network is good in the end
		}
		return &meddler{Conn: c,
			up:   frameMeddler{pick: pick, begin: upBegins, did: did},
			down: frameMeddler{pick: pick, begin: downBegins, did: did}}
	}
	up, down := random(r, 1<<20), random(r, 1<<20)
	client, server := l.pair()
	awaitState(t, client, Up)
	l.net.latest().cut()
	var all sync.WaitGroup
	talk(t, &all, client, server, up, pick)
	talk(t, &all, server, client, down, pick)
	all.Wait()
	<-client.Done() // it may take longer than Close waits
	if err := client.Err(); err != nil {
		t.Errorf("the client ended by %v", err)
	}
	client.Close()
	server.Close()
}

// TestOvertakenConnection checks that a connection that was made first and arrives last is fenced,
// and that the stream stays on the newer one.
func TestOvertakenConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		defer client.Close()
		exchange(t, client, server, "before")
		l.net.set(func(f *faultNet) {
			f.shape = func(_ int, line *line) { line.stall(true) }
		})
		l.net.latest().cut()
		time.Sleep(5 * time.Second) // the hello is under way
		late := l.net.latest()
		l.net.set(func(f *faultNet) { f.shape = nil })
		client.Nudge()
		exchange(t, client, server, "over the connection that overtook")
		path, epoch := livePath(server)
		late.stall(false)
		synctest.Wait()
		if p, e := livePath(server); p != path || e != epoch {
			t.Errorf("what came late moved the stream: epoch %d, was %d", e, epoch)
		}
		exchange(t, client, server, "after")
		if s := client.Status(); s.Resumes != 1 {
			t.Errorf("status is %+v", s)
		}
	})
}

// TestSlowPath checks that a path of 2 KB/s counts as slow, not as dead. A frame takes 8 s, and the
// bytes in the buffers before it take longer than the first wait for an answer.
func TestSlowPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		l.net.shape = func(_ int, line *line) {
			line.up.rate, line.down.rate = 2000, 2000
		}
		client, server := l.pair()
		defer client.Close()
		client.SetDeadline(time.Now().Add(time.Hour))
		server.SetDeadline(time.Now().Add(time.Hour))
		sent := random(rand.New(rand.NewPCG(1, 1)), 200_000)
		begin := time.Now()
		var all sync.WaitGroup
		pick := func(n int) int { return n - 1 }
		talk(t, &all, client, server, sent, pick)
		talk(t, &all, server, client, sent, pick)
		all.Wait()
		if took := time.Since(begin); took < 100*time.Second || took > 150*time.Second {
			t.Errorf("200 kB at 2 kB/s took %v", took)
		}
		if s := client.Status(); s.Resumes > maxDoublings+1 {
			t.Errorf("it was given up again and again: %+v", s)
		}
	})
}

// TestFirstPathMovesOnDuringAHello checks that the first path may continue while the hello of a
// second one is under way. The bytes that it carries and acknowledges in the meantime make the
// hello outdated, but not invalid.
func TestFirstPathMovesOnDuringAHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		defer client.Close()
		exchange(t, client, server, "before")
		synctest.Wait()
		first := l.net.latest()
		first.stall(true)
		l.net.set(func(f *faultNet) { f.shape = func(_ int, line *line) { line.up.stall(true) } })
		client.Nudge()
		synctest.Wait() // the hello is under way
		first.down.stall(false)
		pass(t, server, client, "over the first path")
		first.down.stall(true) // the PONG, which would end the test of the path, does not arrive
		time.Sleep(100 * time.Millisecond)
		first.up.stall(false) // the ACK arrives
		synctest.Wait()
		l.net.latest().stall(false)
		synctest.Wait()
		first.cut()
		exchange(t, client, server, "after")
	})
}
