package stream

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// freeze takes the network away: nothing arrives, and every dial waits.
func (l *lab) freeze(d time.Duration) {
	synctest.Wait() // the CONFIRM has arrived
	l.net.set(func(f *faultNet) { f.hang = true })
	for _, line := range l.net.lines {
		line.stall(true)
	}
	time.Sleep(d)
	l.net.set(func(f *faultNet) { f.hang = false })
}

func TestFreeze(t *testing.T) {
	for _, d := range []time.Duration{25 * time.Second, 5 * time.Minute, 23 * time.Hour} {
		t.Run(d.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				defer l.close()
				client, server := l.pair()
				defer client.Close()
				exchange(t, client, server, "before")
				client.Write([]byte("under way up"))
				server.Write([]byte("under way down"))
				l.freeze(d)
				client.Nudge()
				start := time.Now()
				expect(t, server, "under way up")
				expect(t, client, "under way down")
				if took := time.Since(start); took > time.Second {
					t.Errorf("it took %v to go on", took)
				}
				exchange(t, client, server, "after")
			})
		})
	}
}

func expect(t *testing.T, c *Conn, words string) {
	t.Helper()
	got := make([]byte, len(words))
	for n := 0; n < len(got); {
		k, err := c.Read(got[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += k
	}
	if string(got) != words {
		t.Fatalf("got %q, want %q", got, words)
	}
}

// TestFreezeBeyondGrace checks that a server gives a stream up after 26 hours, and that the client
// learns this.
func TestFreezeBeyondGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		defer client.Close()
		exchange(t, client, server, "before")
		l.freeze(26 * time.Hour)
		client.Nudge()
		_, err := client.Read(make([]byte, 1))
		if !errors.Is(err, ErrExpired) || !strings.Contains(err.Error(), "nobody came back for 24h0m0s") {
			t.Errorf("the client ends with %v", err)
		}
		if err := server.Err(); !errors.Is(err, ErrExpired) {
			t.Errorf("the server ends with %v", err)
		}
		if s := client.Status(); s.State != Ended || !strings.Contains(s.Why, "expired") {
			t.Errorf("status is %+v", s)
		}
	})
}

func TestClientGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		l.net.refuse = errors.New("no route to host")
		start := time.Now()
		client := l.dial()
		defer client.Close()
		_, err := client.Read(make([]byte, 1))
		if !errors.Is(err, ErrGaveUp) || !strings.Contains(err.Error(), "no route to host") {
			t.Errorf("ends with %v", err)
		}
		if took := time.Since(start); took < giveUpAfter || took > giveUpAfter+time.Minute {
			t.Errorf("gave up after %v", took)
		}
	})
}

// TestIdlePackets checks that the schedule of PINGs is that of the protocol's description, and that
// an idle stream sends one packet each way in 15 s.
func TestIdlePackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		defer client.Close()
		exchange(t, client, server, "hello")
		time.Sleep(time.Second)
		line := l.net.latest()
		up, down := line.up.written(), line.down.written()
		time.Sleep(time.Hour)
		for name, n := range map[string]int{"up": line.up.written() - up, "down": line.down.written() - down} {
			if packets := n / 16; n%16 != 0 || packets < 239 || packets > 241 {
				t.Errorf("%s: %d bytes in an hour, want 240 packets of 16", name, n)
			}
		}
		if s := client.Status(); s.Stalls != 0 {
			t.Errorf("%d stalls", s.Stalls)
		}
	})
}

func (p *pipe) written() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// TestOneWayStall checks that a path that is silent in one direction counts as dead.
func TestOneWayStall(t *testing.T) {
	for _, pipeline := range []string{"up", "down"} {
		t.Run(pipeline, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				defer l.close()
				client, server := l.pair()
				defer client.Close()
				exchange(t, client, server, "before")
				line := l.net.latest()
				map[string]*pipe{"up": line.up, "down": line.down}[pipeline].stall(true)
				start := time.Now()
				exchange(t, client, server, "after")
				if took := time.Since(start); took > 20*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// TestSecondPathGivenUp checks that a silent path that answers before there is a second one is
// kept.
func TestSecondPathGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		defer client.Close()
		exchange(t, client, server, "before")
		l.net.set(func(f *faultNet) { f.hang = true })
		line := l.net.latest()
		line.stall(true)
		client.Write([]byte("waits"))
		status := awaitState(t, client, Stalled)
		if status.Why == "" {
			t.Error("it does not say why")
		}
		time.Sleep(2 * time.Second)
		line.stall(false)
		expect(t, server, "waits")
		status = awaitState(t, client, Up)
		if status.Resumes != 0 || status.Stalls != 1 {
			t.Errorf("status is %+v", status)
		}
		l.net.set(func(f *faultNet) { f.hang = false })
		exchange(t, client, server, "after")
		if n := l.net.dialled(); n != 2 {
			t.Errorf("%d dials, want the first and the one given up", n)
		}
	})
}

// TestStatusOfAStall checks that Since is the beginning of the stall, whatever is tried in the
// meantime.
func TestStatusOfAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		defer client.CloseWithError(errCut)
		exchange(t, client, server, "before")
		l.net.set(func(f *faultNet) { f.refuse = errors.New("bastion does not answer") })
		l.net.latest().stall(true)
		client.Write([]byte("x"))
		start := time.Now()
		time.Sleep(44 * time.Second)
		s := client.Status()
		if s.State != Redialling || s.Why != "bastion does not answer" || s.Unacked != 1 {
			t.Errorf("status is %+v", s)
		}
		if waited := s.Since.Sub(start); waited != 2*time.Second {
			t.Errorf("it waits since %v after the stall, want since the PING", waited)
		}
	})
}

// TestNudge checks that a nudge dials at once, and costs only a PING if the path works.
func TestNudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		defer client.Close()
		exchange(t, client, server, "before")
		l.net.set(func(f *faultNet) { f.hang = true })
		client.Nudge()
		synctest.Wait()
		if s := client.Status(); s.State != Up || s.Resumes != 0 {
			t.Errorf("status after a nudge of a good path is %+v", s)
		}
		l.net.set(func(f *faultNet) { f.hang = false })
		l.net.latest().stall(true)
		client.Nudge()
		synctest.Wait()
		if s := client.Status(); s.State != Up || s.Resumes != 1 {
			t.Errorf("status after a nudge of a dead path is %+v", s)
		}
		exchange(t, client, server, "after")
	})
}

// TestNudgeRestartsAStaleDial checks that a nudge ends the wait for a dial that began before the
// network changed.
func TestNudgeRestartsAStaleDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		l.net.hang = true
		client := l.dial()
		defer client.Close()
		time.Sleep(10 * time.Second)
		l.net.set(func(f *faultNet) { f.hang = false })
		start := time.Now()
		client.Nudge()
		server, _ := l.server.Accept()
		exchange(t, client, server, "hello")
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

// TestUnconfirmed checks that an unconfirmed stream is not kept for long.
func TestUnconfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		line, _ := l.send((&openHello{public: [32]byte{9}}).encode())
		server, _ := l.server.Accept()
		line.cut()
		synctest.Wait()
		start := time.Now()
		<-server.Done()
		if took := time.Since(start); took != unconfirmedTime {
			t.Errorf("kept for %v", took)
		}
		if err := server.Err(); !errors.Is(err, ErrExpired) {
			t.Errorf("ended by %v", err)
		}
	})
}

// TestSilentStranger checks that the server does not wait for a handshake that stops half-way.
func TestSilentStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		_, said := l.send([]byte(Magic))
		start := time.Now()
		<-said
		if took := time.Since(start); took != handshakeTime {
			t.Errorf("waited %v", took)
		}
	})
}

// TestTooManyStrangers checks that silent strangers keep no client out, neither one that opens a
// stream nor one that resumes its own.
func TestTooManyStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		defer client.CloseWithError(io.EOF)
		exchange(t, client, server, "before")
		for range 3 * maxHandshakes {
			l.send([]byte(Magic))
		}
		synctest.Wait()
		other, serverOther := l.pair()
		defer other.Close()
		exchange(t, other, serverOther, "a new stream")
		l.net.lines[0].cut()
		exchange(t, client, server, "an old stream")
	})
}

// TestProvedHandshakeIsNotDrawn checks that a client that has proved its keys keeps its place,
// however many come after it.
func TestProvedHandshakeIsNotDrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		defer client.CloseWithError(io.EOF)
		exchange(t, client, server, "before")
		l.net.set(func(f *faultNet) { f.refuse = errCut })
		l.net.lines[0].cut()
		synctest.Wait()
		client.mu.Lock()
		h := &resumeHello{id: client.wire.keys.id, epoch: client.wire.epoch + 1, received: client.wire.rx.received, limit: client.wire.rx.limit}
		h.mac = client.wire.keys.resumeMAC(h)
		client.mu.Unlock()
		_, said := l.send(h.encode()) // which the server answers, and then waits for its commit
		synctest.Wait()
		for range 20 * maxHandshakes {
			l.send([]byte(Magic))
		}
		synctest.Wait()
		select {
		case err := <-said:
			t.Errorf("its connection ended by %v", err)
		default:
		}
	})
}

// TestStrangersStreams checks that streams without an authenticated user never displace those with
// one, with a path or without, however many there are and whatever they do.
func TestStrangersStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(c *ServerConfig) { c.MaxStreams, c.MaxDetached = 4, 2 })
		defer l.close()
		detached, serverDetached := l.pair()
		defer detached.CloseWithError(io.EOF)
		exchange(t, detached, serverDetached, "one")
		attached, serverAttached := l.pair()
		defer attached.Close()
		exchange(t, attached, serverAttached, "two")
		l.net.set(func(f *faultNet) { f.refuse = errCut })
		l.net.lines[0].cut()
		for i := range 3 * maxUnvouched {
			line, _ := l.send((&openHello{public: [32]byte{9, byte(i), byte(i >> 8)}}).encode())
			if _, err := l.server.Accept(); err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				line.cut()
			}
			synctest.Wait()
		}
		for range 2 * l.server.cfg.MaxDetached { // these have proved their keys, and are strangers nevertheless
			line, dials := newLine(), 0
			l.serve(line.far)
			other := l.dial(func(c *Config) {
				c.Dial = func(context.Context) (net.Conn, error) {
					if dials++; dials > 1 {
						return nil, errCut
					}
					return line.near, nil
				}
			})
			defer other.CloseWithError(io.EOF)
			serverOther, err := l.server.Accept()
			if err != nil {
				t.Fatal(err)
			}
			exchange(t, other, serverOther, "a stranger")
			line.cut()
			synctest.Wait()
		}
		l.net.set(func(f *faultNet) { f.refuse = nil })
		exchange(t, detached, serverDetached, "still there")
		exchange(t, attached, serverAttached, "undisturbed")
		start := time.Now()
		late, serverLate := l.pair()
		if waited := time.Since(start); waited > time.Second {
			t.Errorf("a login waited %v", waited)
		}
		defer late.Close()
		exchange(t, late, serverLate, "and room for another")
	})
}
