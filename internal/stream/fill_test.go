//go:build unix

package stream

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"time"
)

// What is read straight into the ring arrives as it was said, in pieces of all sizes and
// beyond what the ring holds, with its end.
func TestFill(t *testing.T) {
	client, server := benchServer(t)()
	near, far := sockets(t)
	ended := make(chan bool, 1)
	go func() {
		ended <- Fill(client, rawOf(t, near))
		client.CloseWrite()
	}()
	r := rand.New(rand.NewPCG(11, 12))
	said := random(r, 3*maxRing+r.IntN(1<<20))
	go func() {
		defer closeWrite(far)
		for rest := said; len(rest) > 0; {
			n := min(len(rest), 1+r.IntN(1<<r.IntN(20)))
			if _, err := far.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
	}()
	heard, err := io.ReadAll(server)
	if err != nil || !bytes.Equal(heard, said) {
		t.Errorf("%d of %d bytes, or others: %v", len(heard), len(said), err)
	}
	if !<-ended {
		t.Error("it was not the reader that ended")
	}
}

// A deadline of either side, and the end of the stream, end it, and what was not read is
// there for somebody else.
func TestFillEnds(t *testing.T) {
	for name, end := range map[string]func(client, server *Conn, near net.Conn){
		"a deadline of the reader": func(_, _ *Conn, near net.Conn) { near.SetReadDeadline(time.Unix(1, 0)) },
		"both deadlines, as a link that makes way sets them": func(client, _ *Conn, near net.Conn) {
			near.SetDeadline(time.Unix(1, 0))
			client.SetDeadline(time.Unix(1, 0))
		},
		"the stream": func(client, _ *Conn, near net.Conn) {
			client.CloseWithError(io.ErrClosedPipe)
			near.SetReadDeadline(time.Unix(1, 0))
		},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := benchServer(t)()
			near, far := sockets(t)
			ended := make(chan bool, 1)
			go func() { ended <- Fill(client, rawOf(t, near)) }()
			if _, err := io.WriteString(far, "before"); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(server, make([]byte, len("before"))); err != nil {
				t.Fatal(err)
			}
			end(client, server, near)
			if <-ended {
				t.Error("the reader has ended")
			}
			if _, err := io.WriteString(far, "after"); err != nil {
				t.Fatal(err)
			}
			near.SetReadDeadline(time.Now().Add(time.Minute))
			got := make([]byte, len("after"))
			if _, err := io.ReadFull(near, got); err != nil || string(got) != "after" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// An idle reader holds no memory of the ring's.
func TestFillHoldsNothingWhileItWaits(t *testing.T) {
	client, server := benchServer(t)()
	near, far := sockets(t)
	ended := make(chan bool, 1)
	go func() { ended <- Fill(client, rawOf(t, near)) }()
	const much = 1 << 20
	go far.Write(make([]byte, much)) // ends when all of it has come
	if _, err := io.ReadFull(server, make([]byte, much)); err != nil {
		t.Fatal(err)
	}
	held := func() int {
		client.mu.Lock()
		defer client.mu.Unlock()
		return client.wire.tx.held
	}
	for end := time.Now().Add(time.Minute); held() > 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if n := held(); n > 0 {
		t.Errorf("%d bytes are held", n)
	}
	far.Close()
	<-ended
}

func rawOf(t *testing.T, conn net.Conn) syscall.RawConn {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Error(err)
	}
	return raw
}
