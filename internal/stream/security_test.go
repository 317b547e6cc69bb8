package stream

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// send opens a path by hand, sends b, and returns the path and the channel for Handle's error.
func (l *lab) send(b []byte) (*line, <-chan error) {
	line := newLine()
	said := make(chan error, 1)
	l.paths.Go(func() { said <- l.server.Handle(context.Background(), line.far) })
	l.t.Cleanup(line.cut)
	line.near.Write(b) // it fails if the server has refused the path already
	return line, said
}

// refusalTo sends a hello and returns the signed refusal that it must get.
func (l *lab) refusalTo(hello []byte) *refused {
	l.t.Helper()
	line, said := l.send(hello)
	kind, err := readKind(line.near)
	if err != nil || kind != kindRefused {
		l.t.Fatalf("answer of kind %d, %v; want a refusal", kind, err)
	}
	answer, err := readRefused(line.near)
	if err != nil {
		l.t.Fatal(err)
	}
	if !verifyHello(l.key.Public().(ed25519.PublicKey), labelRefused, hello, answer.signed(), answer.signature) {
		l.t.Error("the refusal is not signed by the host key")
	}
	line.near.Close()
	var refusal *Refusal
	if err := <-said; !errors.As(err, &refusal) || refusal.Code != answer.code {
		l.t.Errorf("Handle says %v, the client was told %v", err, answer.code)
	}
	return answer
}

// hello returns a resume hello that the client of c could send.
func hello(c *Conn, change func(*resumeHello)) *resumeHello {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := &resumeHello{id: c.wire.keys.id, epoch: c.wire.epoch + 1, received: c.wire.rx.received, limit: c.wire.rx.limit}
	change(h)
	h.mac = c.wire.keys.resumeMAC(h)
	return h
}

func TestRefusals(t *testing.T) {
	l := newLab(t)
	defer l.close()
	client, server := l.pair()
	defer client.Close()
	exchange(t, client, server, "hello")
	l.net.latest().cut()
	exchange(t, client, server, "epoch 1 from here on")
	path, epoch := livePath(server)

	wrongMAC := hello(client, func(*resumeHello) {})
	wrongMAC.mac[5] ^= 1
	for name, test := range map[string]struct {
		hello *resumeHello
		want  Code
	}{
		"unknown id":   {hello(client, func(h *resumeHello) { h.id[3] ^= 1 }), CodeUnknown},
		"wrong MAC":    {wrongMAC, CodeProof},
		"no MAC":       {&resumeHello{id: client.wire.keys.id, epoch: 100}, CodeProof},
		"same epoch":   {hello(client, func(h *resumeHello) { h.epoch = 1 }), CodeFenced},
		"older epoch":  {hello(client, func(h *resumeHello) { h.epoch = 0 }), CodeFenced},
		"high offset":  {hello(client, func(h *resumeHello) { h.received = 1 << 40 }), CodeOffset},
		"great offset": {hello(client, func(h *resumeHello) { h.received = 1<<64 - 1 }), CodeOffset},
	} {
		if got := l.refusalTo(test.hello.encode()); got.code != test.want {
			t.Errorf("%s: refused as %v, want %v", name, got.code, test.want)
		}
		if !l.logged(test.want.String()) {
			t.Errorf("%s: the log does not say %q", name, test.want)
		}
	}
	if p, e := livePath(server); p != path || e != epoch {
		t.Errorf("epoch %d, was %d; same path: %v", e, epoch, p == path)
	}
	exchange(t, client, server, "untouched")
	if s := client.Status(); s.Resumes != 1 {
		t.Errorf("%d resumes, want the one of the cut", s.Resumes)
	}
}

// TestCommitWithALowOffset checks that the offset of a hello may be lower than that of the previous
// path, and that of a commit may not.
func TestCommitWithALowOffset(t *testing.T) {
	l := newLab(t)
	defer l.close()
	client, server := l.pair()
	defer client.Close()
	exchange(t, client, server, "hello")
	exchange(t, client, server, "all of it acknowledged")
	path, epoch := livePath(server)
	h := hello(client, func(h *resumeHello) { h.received = 3 })
	line, said := l.send(h.encode())
	if kind, err := readKind(line.near); err != nil || kind != kindResumed {
		t.Fatalf("answer of kind %d, %v", kind, err)
	}
	answer, err := readResumed(line.near)
	if err != nil {
		t.Fatal(err)
	}
	m := &commit{received: 3, limit: h.limit}
	m.mac = client.wire.keys.commitMAC(h, answer, m)
	line.near.Write(m.encode())
	if err := <-said; !errors.Is(err, ErrOffset) {
		t.Errorf("the commit gets %v", err)
	}
	if p, e := livePath(server); p != path || e != epoch {
		t.Errorf("epoch %d, was %d; same path: %v", e, epoch, p == path)
	}
	exchange(t, client, server, "untouched")
}

// TestOneCommitForAnEpoch checks two paths that begin with one epoch, by hellos that were both in
// time. The first commit moves the stream, and the second changes nothing.
func TestOneCommitForAnEpoch(t *testing.T) {
	l := newLab(t)
	defer l.close()
	client, server := l.pair()
	defer client.Close()
	exchange(t, client, server, "hello")
	h := hello(client, func(*resumeHello) {})
	begin := func() (*line, <-chan error, *resumed) {
		t.Helper()
		line, said := l.send(h.encode())
		if kind, err := readKind(line.near); err != nil || kind != kindResumed {
			t.Fatalf("answer of kind %d, %v", kind, err)
		}
		answer, err := readResumed(line.near)
		if err != nil {
			t.Fatal(err)
		}
		return line, said, answer
	}
	end := func(line *line, answer *resumed) {
		m := &commit{received: h.received, limit: h.limit}
		m.mac = client.wire.keys.commitMAC(h, answer, m)
		line.near.Write(m.encode())
	}
	first, firstSaid, firstAnswer := begin()
	second, secondSaid, secondAnswer := begin()
	end(first, firstAnswer)
	moved := time.Now().Add(time.Minute)
	for _, e := livePath(server); e != h.epoch; _, e = livePath(server) {
		if time.Now().After(moved) {
			t.Fatal("the first commit does not move the stream")
		}
		runtime.Gosched()
	}
	path, _ := livePath(server)
	end(second, secondAnswer)
	if err := <-secondSaid; !errors.Is(err, ErrFenced) {
		t.Errorf("the second commit gets %v", err)
	}
	if p, _ := livePath(server); p != path {
		t.Error("the second commit moved the stream")
	}
	first.cut()
	<-firstSaid
}

func livePath(c *Conn) (*path, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.path, c.wire.epoch
}

// TestReplay checks that bytes that were recorded on a path and are sent again change nothing,
// and reveal nothing that was not on that path.
func TestReplay(t *testing.T) { synctest.Test(t, replay) }

func replay(t *testing.T) {
	l := newLab(t)
	defer l.close()
	var opening, resuming bytes.Buffer
	l.net.shape = func(n int, line *line) {
		line.up.record = map[int]*bytes.Buffer{1: &opening, 2: &resuming}[n]
	}
	client, server := l.pair()
	defer client.Close()
	exchange(t, client, server, "hello")
	synctest.Wait() // the CONFIRM is recorded
	l.net.latest().cut()
	exchange(t, client, server, "resumed")
	synctest.Wait()
	path, epoch := livePath(server)

	if got := l.refusalTo(resuming.Bytes()[:resumeLen]); got.code != CodeFenced {
		t.Errorf("a replayed resume is refused as %v, want %v", got.code, CodeFenced)
	}
	// A hello that was held back and is used later: its commit is missing, and the recorded one
	// does not match the server's new nonce.
	late := hello(client, func(*resumeHello) {})
	line, said := l.send(append(late.encode(), resuming.Bytes()[resumeLen:resumeLen+commitLen]...))
	if err := <-said; !errors.Is(err, errViolation) {
		t.Errorf("a replayed commit gets %v", err)
	}
	line.cut()
	if p, e := livePath(server); p != path || e != epoch {
		t.Errorf("a replay moved the stream: epoch %d, was %d", e, epoch)
	}
	// A replayed open makes a stream of its own, which cannot be confirmed.
	line, said = l.send(opening.Bytes())
	other, err := l.server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := <-said; !errors.Is(err, errViolation) {
		t.Errorf("a replayed CONFIRM gets %v", err)
	}
	line.cut()
	if other.wire.confirmed || other.wire.keys.id == server.wire.keys.id {
		t.Error("a replayed open was confirmed")
	}
	exchange(t, client, server, "untouched")
}

// TestManInTheMiddle checks that no byte of an attacker between client and server reaches the user,
// whatever the attacker sends.
func TestManInTheMiddle(t *testing.T) {
	for name, swap := range map[string]func(l *lab, near, far net.Conn){
		"own server": func(l *lab, near, far net.Conn) {
			far.Close()
			evil := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
			s, _ := NewServer(ServerConfig{HostKey: evil})
			defer s.Close()
			go func() {
				c, _ := s.Accept()
				c.Write([]byte("SSH-2.0-evil"))
			}()
			s.Handle(context.Background(), near) // until the client has closed
		},
		"own key to the server": func(l *lab, near, far net.Conn) {
			open, _, _ := readHello(near)
			own, _ := newEphemeral()
			copy(open.public[:], own.PublicKey().Bytes())
			far.Write(open.encode())
			io.Copy(near, far)
		},
		"own key to the client": func(l *lab, near, far net.Conn) {
			open, _, _ := readHello(near)
			far.Write(open.encode())
			readKind(far)
			answer, _ := readOpened(far)
			own, _ := newEphemeral()
			copy(answer.public[:], own.PublicKey().Bytes())
			near.Write(answer.encode())
			io.Copy(near, far)
		},
		"invented refusal": func(l *lab, near, far net.Conn) {
			readHello(near)
			near.Write((&refused{code: CodeUnknown}).encode())
			io.Copy(io.Discard, near)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			defer l.close()
			client := l.dial(func(cfg *Config) {
				cfg.Dial = func(ctx context.Context) (net.Conn, error) {
					far, err := l.net.dial(ctx)
					line := newLine()
					l.paths.Go(func() {
						swap(l, line.far, far)
						line.cut()
						far.Close()
					})
					t.Cleanup(func() { line.cut(); far.Close() })
					return line.near, err
				}
			})
			client.Write([]byte("SSH-2.0-client"))
			n, err := client.Read(make([]byte, 100))
			if n != 0 || !errors.Is(err, ErrHostKey) {
				t.Errorf("read %d bytes and %v, want ErrHostKey and nothing", n, err)
			}
			client.Close()
			l.net.closeAll()
		})
	}
}

// TestInventedRefusalOfAResume checks that an unsigned refusal of a resume does not end the stream.
func TestInventedRefusalOfAResume(t *testing.T) {
	l := newLab(t)
	defer l.close()
	client, server := l.pair()
	defer client.Close()
	exchange(t, client, server, "hello")
	accept := l.net.accept
	tries := 0
	l.net.set(func(f *faultNet) {
		f.accept = func(conn net.Conn) {
			if tries++; tries > 3 {
				accept(conn)
				return
			}
			l.paths.Go(func() {
				readHello(conn)
				conn.Write((&refused{code: CodeUnknown}).encode())
				io.Copy(io.Discard, conn)
			})
		}
	})
	l.net.latest().cut()
	exchange(t, client, server, "still here")
	if tries != 4 {
		t.Errorf("%d tries, want 4", tries)
	}
}

func TestPermanentErrorEndsTheStream(t *testing.T) {
	l := newLab(t)
	defer l.close()
	withdrawn := errors.New("certificate has expired")
	client, server := l.pair()
	defer client.Close()
	exchange(t, client, server, "hello")
	l.net.set(func(f *faultNet) { f.refuse = Permanent(withdrawn) })
	dials := l.net.dialled()
	l.net.cutAll()
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, withdrawn) {
		t.Errorf("read ends with %v", err)
	}
	if _, err := client.Write([]byte("x")); !errors.Is(err, withdrawn) {
		t.Errorf("write ends with %v", err)
	}
	if n := l.net.dialled() - dials; n != 1 {
		t.Errorf("%d dials after a permanent error", n)
	}
}

func TestZeroConfigRefuses(t *testing.T) {
	if _, err := Dial(context.Background(), Config{Dial: newFaultNet(nil).dial}); err == nil {
		t.Error("a client without a host key to expect")
	}
	if _, err := NewServer(ServerConfig{}); err == nil {
		t.Error("a server without a host key")
	}
}

func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(c *ServerConfig) { c.MaxStreams = 2 })
		defer l.close()
		a, serverA := l.pair()
		defer a.Close()
		b, serverB := l.pair()
		defer b.Close()
		exchange(t, a, serverA, "a")
		exchange(t, b, serverB, "b")
		c := l.dial()
		defer c.Close()
		time.Sleep(time.Minute)
		if s := c.Status(); s.State != Redialling || !strings.Contains(s.Why, "busy") {
			t.Errorf("status is %+v", s)
		}
		exchange(t, a, serverA, "undisturbed")
		b.Close()
		serverC, err := l.server.Accept()
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, serverC, "at last")
	})
}

// TestEviction checks the order in which streams are evicted: first one that no client has
// confirmed, then the one without a path for longest.
func TestEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(c *ServerConfig) { c.MaxStreams = 3 })
		defer l.close()
		old, serverOld := l.pair()
		defer old.CloseWithError(io.EOF)
		exchange(t, old, serverOld, "old")
		young, serverYoung := l.pair()
		defer young.Close()
		exchange(t, young, serverYoung, "young")
		l.net.set(func(f *faultNet) { f.refuse = errCut })
		lines := l.net.lines
		lines[0].cut()
		time.Sleep(time.Second)
		lines[1].cut()
		stranger, _ := l.send((&openHello{public: [32]byte{9}}).encode())
		l.server.Accept()
		stranger.cut()
		time.Sleep(time.Second)
		for i, want := range []string{"", "evicted"} {
			l.net.set(func(f *faultNet) { f.refuse = nil; f.dials = 0 })
			other, serverOther := l.pairBeside(old, young)
			defer other.Close()
			exchange(t, other, serverOther, "new")
			if got := errors.Is(serverOld.Err(), ErrExpired); got != (want == "evicted") {
				t.Errorf("after %d new streams the oldest has ended: %v", i+1, serverOld.Err())
			}
		}
		if serverYoung.Err() != nil {
			t.Errorf("the younger one ended by %v", serverYoung.Err())
		}
	})
}

// pairBeside makes a stream while the others may not dial.
func (l *lab) pairBeside(others ...*Conn) (client, server *Conn) {
	l.net.set(func(f *faultNet) { f.refuse = errCut })
	return l.pair(func(c *Config) {
		c.Dial = func(ctx context.Context) (net.Conn, error) {
			line := newLine()
			l.serve(line.far)
			l.t.Cleanup(line.cut)
			return line.near, nil
		}
	})
}
