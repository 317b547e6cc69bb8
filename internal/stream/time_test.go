package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// freeze is a network that is not there: nothing arrives, nobody can dial.
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

// After 26 hours the server has given the stream up, and the client is told so.
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

// The schedule of pings is what the protocol page says, and an idle stream
// sends one packet each way per 15 s.
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

// A path that is silent in one direction only is as dead as any.
func TestOneWayStall(t *testing.T) {
	for _, way := range []string{"up", "down"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				defer l.close()
				client, server := l.pair()
				defer client.Close()
				exchange(t, client, server, "before")
				line := l.net.latest()
				map[string]*pipe{"up": line.up, "down": line.down}[way].stall(true)
				start := time.Now()
				exchange(t, client, server, "after")
				if took := time.Since(start); took > 20*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// When the silent path speaks again before a second one is there, the first is
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

// Since tells how long a user waits already, whatever is tried meanwhile.
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

// A nudge dials at once, and is worth nothing more than a PING when the path
// works.
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

// A nudge ends waiting for a dial that began before the network changed.
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

// An unconfirmed stream is not kept for long.
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

// A handshake that stops half-way is not waited for.
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

func TestTooManyStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		for range maxHandshakes {
			l.send([]byte(Magic))
		}
		synctest.Wait()
		_, said := l.send([]byte(Magic))
		if err := <-said; err == nil || !strings.Contains(err.Error(), fmt.Sprint(maxHandshakes)) {
			t.Errorf("one more stranger gets %v", err)
		}
	})
}

func TestContextEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		ctx, cancel := context.WithCancelCause(context.Background())
		client, err := Dial(ctx, l.config())
		if err != nil {
			t.Fatal(err)
		}
		server, _ := l.server.Accept()
		exchange(t, client, server, "hello")
		cancel(errors.New("the link is leaving"))
		var reset *ResetError
		if _, err := server.Read(make([]byte, 1)); !errors.As(err, &reset) || reset.Text != "the link is leaving" {
			t.Errorf("the server reads %v", err)
		}
		client.Close()
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		defer client.Close()
		exchange(t, client, server, "hello")
		start := time.Now()
		client.SetReadDeadline(start.Add(3 * time.Second))
		_, err := client.Read(make([]byte, 1))
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) != 3*time.Second {
			t.Errorf("read ends after %v with %v", time.Since(start), err)
		}
		client.SetDeadline(time.Time{})
		exchange(t, client, server, "again")
		go func() {
			time.Sleep(time.Second)
			client.SetReadDeadline(time.Now())
		}()
		if _, err := client.Read(make([]byte, 1)); !errors.As(err, &timeout) {
			t.Errorf("a deadline set meanwhile: %v", err)
		}
		client.SetReadDeadline(time.Time{})
		client.SetWriteDeadline(time.Now().Add(time.Minute))
		if _, err := client.Write(make([]byte, 16<<20)); !errors.As(err, &timeout) {
			t.Errorf("write ends with %v", err)
		}
	})
}

// Over a new path bytes flow to the client after one round trip, and to the
// server after one and a half.
func TestRoundTripsOfAResume(t *testing.T) {
	const oneWay = 50 * time.Millisecond
	for _, toClient := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			defer l.close()
			l.net.shape = func(_ int, line *line) { line.up.delay, line.down.delay = oneWay, oneWay }
			client, server := l.pair()
			defer client.Close()
			exchange(t, client, server, "before")
			time.Sleep(time.Second)
			l.net.set(func(f *faultNet) { f.refuse = errCut })
			l.net.latest().cut()
			synctest.Wait()
			from, to, want := client, server, 3*oneWay
			if toClient {
				from, to, want = server, client, 2*oneWay
			}
			from.Write([]byte("written while there was no path"))
			l.net.set(func(f *faultNet) { f.refuse = nil })
			start := time.Now()
			client.Nudge()
			expect(t, to, "written while there was no path")
			if took := time.Since(start); took != want {
				t.Errorf("to the client: %v; bytes came after %v, want %v", toClient, took, want)
			}
		})
	}
}

// The first bytes of a stream wait for nothing.
func TestOpenCostsNoRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const oneWay = 50 * time.Millisecond
		l := newLab(t)
		defer l.close()
		l.net.shape = func(_ int, line *line) { line.up.delay, line.down.delay = oneWay, oneWay }
		start := time.Now()
		client := l.dial()
		defer client.Close()
		client.Write([]byte("SSH-2.0-client"))
		server, _ := l.server.Accept()
		server.Write([]byte("SSH-2.0-server"))
		expect(t, server, "SSH-2.0-client")
		if took := time.Since(start); took != oneWay {
			t.Errorf("the client's first bytes came after %v", took)
		}
		expect(t, client, "SSH-2.0-server")
		if took := time.Since(start); took != 2*oneWay {
			t.Errorf("the server's first bytes came after %v", took)
		}
	})
}
