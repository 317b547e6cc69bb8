package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestFaults checks that the bytes written at one end are read at the other, whatever the network
// does. KEYWAY_SEED repeats a run.
func TestFaults(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("KEYWAY_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	runs := 30
	if testing.Short() {
		runs = 5
	}
	for i := range runs {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Logf("KEYWAY_SEED=%d", seed)
			synctest.Test(t, func(t *testing.T) { faults(t, rand.New(rand.NewPCG(seed, uint64(i)))) })
		})
	}
}

func faults(t *testing.T, r *rand.Rand) {
	l := newLab(t)
	defer l.close()
	var mu sync.Mutex // several goroutines use r
	pick := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return r.IntN(n)
	}
	l.net.shape = func(n int, line *line) {
		if n == 1 || n > 60 {
			return // the stream was opened, and the network is good in the end
		}
		for _, p := range []*pipe{line.up, line.down} {
			misbehave(p, pick)
		}
	}
	up, down := random(r, r.IntN(3<<20)), random(r, r.IntN(3<<20))
	client, server := l.pair()
	synctest.Wait()
	nomad := newNomad(l, client)
	stop := make(chan struct{})
	var trouble sync.WaitGroup
	trouble.Go(func() { troubles(l, nomad, pick, stop) })
	var all sync.WaitGroup
	talk(t, &all, nomad, server, up, pick)
	talk(t, &all, server, nomad, down, pick)
	all.Wait()
	close(stop)
	trouble.Wait()
	client = nomad.c
	client.Close()
	server.Close()
	<-client.Done()
	if err := client.Err(); err != nil {
		t.Errorf("the client ended by %v", err)
	}
	synctest.Wait()
	// A server whose last ACK was lost keeps its unacknowledged bytes until its grace is over.
	for _, c := range []*Conn{client, server} {
		if n := c.wire.tx.budget.Used(); n != 0 && isClosed(c.Done()) {
			t.Errorf("%d bytes of the budget are still used", n)
		}
	}
}

// TestFaultsWhileOpening breaks the first connections in each way. A client that has seen no answer
// opens another stream. So the test checks that the server tolerates streams whose client never
// returns, and that the client gets data of only one of them.
func TestFaultsWhileOpening(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for i := range uint64(20) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Logf("seed %d", seed)
			synctest.Test(t, func(t *testing.T) { faultyOpening(t, rand.New(rand.NewPCG(seed, i))) })
		})
	}
}

func faultyOpening(t *testing.T, r *rand.Rand) {
	l := newLab(t)
	defer l.close()
	var mu sync.Mutex
	pick := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return r.IntN(n)
	}
	l.net.shape = func(n int, line *line) {
		if n > 10 {
			return
		}
		for _, p := range []*pipe{line.up, line.down} {
			misbehave(p, pick)
			if pick(2) == 0 {
				p.cutAt = 1 + pick(400)
			}
		}
	}
	var echoes sync.WaitGroup
	go func() {
		for {
			c, err := l.server.Accept()
			if err != nil {
				return
			}
			echoes.Go(func() {
				c.CopyTo(c)
				c.Close()
			})
		}
	}()
	words := random(r, r.IntN(500<<10))
	client := l.dial()
	go func() {
		client.Write(words)
		client.CloseWrite()
	}()
	if b, err := io.ReadAll(client); err != nil || !bytes.Equal(b, words) {
		t.Errorf("%d bytes came back of %d, %v", len(b), len(words), err)
	}
	client.Close()
	l.server.Close()
	echoes.Wait()
}

// misbehave gives one direction of a connection its faults.
func misbehave(p *pipe, pick func(int) int) {
	switch pick(5) {
	case 0:
		p.cutAt = 1 + pick(500<<10)
	case 1: // a byte is changed, now and then
		left := 200 + pick(300<<10)
		p.spoil = func(b []byte) {
			if left -= len(b); left < 0 {
				b[pick(len(b))] ^= 1 << pick(8)
				left = 200 + pick(300<<10)
			}
		}
	case 2: // bytes are lost, the connection continues
		left := 200 + pick(300<<10)
		p.spoil = func(b []byte) {
			if left -= len(b); left < 0 && len(b) > 1 {
				copy(b, b[1:])
				left = 1 << 40
			}
		}
	case 3:
		p.most = 1 + pick(2000)
	}
}

// nomad is a client's end that moves from process to process while it is used.
type nomad struct {
	l *lab
	c *Conn
	// The reader holds one, the writer the other, and a handover both. Unlike mutexes, they do not
	// stop the bubble's clock.
	reading, writing chan struct{}
}

func newNomad(l *lab, c *Conn) *nomad {
	return &nomad{l: l, c: c, reading: make(chan struct{}, 1), writing: make(chan struct{}, 1)}
}

func (m *nomad) Read(p []byte) (int, error) {
	return m.use(m.reading, func() (int, error) { return m.c.Read(p) })
}

func (m *nomad) Write(p []byte) (n int, err error) {
	for {
		k, err := m.use(m.writing, func() (int, error) { return m.c.Write(p[n:]) })
		if n += k; err != nil || n == len(p) {
			return n, err
		}
	}
}

func (m *nomad) CloseWrite() error {
	_, err := m.use(m.writing, func() (int, error) { return 0, m.c.CloseWrite() })
	return err
}

// use calls f, and calls it again if a move interrupted it before it had an effect.
func (m *nomad) use(held chan struct{}, f func() (int, error)) (int, error) {
	for {
		held <- struct{}{}
		n, err := f()
		<-held
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return n, err
		case n > 0:
			return n, nil
		}
		time.Sleep(time.Millisecond) // a move has precedence
	}
}

// move acts as two links: the first stops copying, saves the stream's state and ends, and the next
// continues.
func (m *nomad) move() {
	m.c.SetDeadline(time.Unix(1, 0))
	m.reading <- struct{}{}
	m.writing <- struct{}{}
	defer func() { <-m.reading; <-m.writing }()
	state, err := m.c.HandOver()
	if err != nil { // it has ended
		m.c.SetDeadline(time.Time{})
		return
	}
	m.c.Close()
	next, err := Restore(context.Background(), m.l.config(), state)
	if err != nil {
		m.l.t.Errorf("restoring: %v", err)
		return
	}
	m.c = next
}

// troubles cuts, stalls and hides the network, and moves the client, while bytes
// move.
func troubles(l *lab, client *nomad, pick func(int) int, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(pick(8000)) * time.Millisecond):
		}
		line := l.net.latest()
		switch pick(8) {
		case 0:
			line.cut()
		case 1:
			line.stall(true)
		case 2:
			line.up.stall(true)
		case 3:
			line.down.stall(true)
		case 4:
			l.net.set(func(f *faultNet) { f.refuse = errors.New("unreachable") })
			line.cut()
			time.Sleep(time.Duration(pick(200)) * time.Second)
			l.net.set(func(f *faultNet) { f.refuse = nil })
		default:
			client.move()
		}
	}
}

// end is a Conn or a nomad.
type end interface {
	io.ReadWriter
	CloseWrite() error
}

// talk sends b with pauses, and reads it with other pauses.
func talk(t *testing.T, all *sync.WaitGroup, from, to end, b []byte, pick func(int) int) {
	all.Go(func() {
		for rest := b; len(rest) > 0; {
			n := min(len(rest), 1+pick(100<<10))
			if _, err := from.Write(rest[:n]); err != nil {
				t.Errorf("write: %v", err)
				return
			}
			rest = rest[n:]
			time.Sleep(time.Duration(pick(2000)) * time.Millisecond)
		}
		from.CloseWrite()
	})
	all.Go(func() {
		var got bytes.Buffer
		buf := make([]byte, 64<<10)
		for {
			n, err := to.Read(buf[:1+pick(len(buf))])
			got.Write(buf[:n])
			if err != nil {
				if err != io.EOF {
					t.Errorf("read: %v", err)
				}
				break
			}
			if pick(10) == 0 {
				time.Sleep(time.Duration(pick(1000)) * time.Millisecond)
			}
		}
		if !bytes.Equal(got.Bytes(), b) {
			t.Errorf("%d bytes came, %d were sent: they differ", got.Len(), len(b))
		}
	})
}

// TestSlowReader checks that a reader that does not read buffers its window and no more, and that
// the path stays.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := NewBudget(16 << 20)
		l := newLab(t, func(c *ServerConfig) { c.Budget = budget })
		defer l.close()
		client, server := l.pair()
		awaitState(t, client, Up) // before, the ring may fill
		wrote := make(chan int)
		go func() {
			n, _ := client.Write(make([]byte, 64<<20))
			wrote <- n
		}()
		time.Sleep(time.Hour)
		server.mu.Lock()
		held, buffered := server.wire.rx.live, server.wire.rx.buffered()
		server.mu.Unlock()
		if most := smallWindow + smallWindow/4 + 2*largeChunk; held > most || buffered > smallWindow {
			t.Errorf("the receiver holds %d bytes for %d, at most %d may be", held, buffered, most)
		}
		client.mu.Lock()
		held = client.wire.tx.held
		client.mu.Unlock()
		if held > smallWindow+maxUnsent+2*largeSlab {
			t.Errorf("the sender holds %d bytes", held)
		}
		if s := client.Status(); s.State != Up || s.Stalls != 0 {
			t.Errorf("status is %+v", s)
		}
		client.CloseWithError(errCut)
		if n := <-wrote; n > 2<<20 {
			t.Errorf("%d bytes were taken from the writer", n)
		}
	})
}

// TestRingIsBounded checks that the ring holds 8 MiB without a path, and no more than the budget
// allows.
func TestRingIsBounded(t *testing.T) {
	for limit, size := range map[int]int{DefaultBudget: maxRing, 1 << 20: 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				defer l.close()
				budget := NewBudget(limit)
				client, server := l.pair(func(c *Config) { c.Budget = budget })
				exchange(t, client, server, "hello")
				l.net.set(func(f *faultNet) { f.refuse = errCut })
				l.net.latest().cut()
				synctest.Wait()
				client.SetWriteDeadline(time.Now().Add(time.Minute))
				n, err := client.Write(make([]byte, 64<<20))
				if !errors.Is(err, os.ErrDeadlineExceeded) || n < size*9/10 || n > size+smallSlab {
					t.Errorf("took %d bytes, then %v", n, err)
				}
				if used := budget.Used(); used > size || used < size*9/10-largeSlab {
					t.Errorf("%d bytes of the budget are used", used)
				}
				l.net.set(func(f *faultNet) { f.refuse = nil })
				if _, err := io.ReadFull(server, make([]byte, n)); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				time.Sleep(2 * serverAckDelay)
				if used := budget.Used(); used != 0 {
					t.Errorf("%d bytes are used when all has arrived", used)
				}
				client.Close()
			})
		})
	}
}

// TestRingWithoutABudget checks that a client whose ring cannot grow still sends a ring in each
// ackDelay, whatever the size of its writes: the server acknowledges long before serverAckDelay.
func TestRingWithoutABudget(t *testing.T) {
	for _, size := range []int{64, 1 << 10, 64 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				defer l.close()
				client, server := l.pair(func(c *Config) { c.Budget = NewBudget(0) })
				const all = 1 << 20
				go func() {
					for range all / size {
						client.Write(make([]byte, size))
					}
				}()
				start := time.Now()
				if _, err := io.ReadFull(server, make([]byte, all)); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took > 3*all/smallSlab*ackDelay {
					t.Errorf("%d bytes in writes of %d took %v", all, size, took)
				}
				client.Close()
			})
		})
	}
}

// TestWindowOfALongPath checks that a long path gets a wide window, and gives it back when it is
// idle.
func TestWindowOfALongPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		l.net.shape = func(_ int, line *line) {
			line.up.size, line.up.delay, line.down.delay = 16<<20, 50*time.Millisecond, 50*time.Millisecond
		}
		client, server := l.pair()
		go client.Write(make([]byte, 40<<20))
		start := time.Now()
		if _, err := io.ReadFull(server, make([]byte, 40<<20)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("40 MiB over 100 ms took %v: the window does not grow", took)
		}
		server.mu.Lock()
		window := server.wire.rx.window
		server.mu.Unlock()
		if window != maxWindow {
			t.Errorf("the window is %d", window)
		}
		time.Sleep(2 * time.Minute)
		server.mu.Lock()
		window = server.wire.rx.window
		server.mu.Unlock()
		if used := server.wire.rx.budget.Used(); window != smallWindow || used != 0 {
			t.Errorf("after two idle minutes the window is %d, %d bytes of the budget are used", window, used)
		}
		go client.Write(make([]byte, 1<<20))
		if _, err := io.ReadFull(server, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		client.Close()
	})
}
