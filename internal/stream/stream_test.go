package stream

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestExchange(t *testing.T) {
	l := newLab(t)
	defer l.close()
	client, server := l.pair()
	defer client.Close()
	exchange(t, client, server, "hello")
	if s := client.Status(); s.State != Up || s.Up != 5 || s.Down != 5 || !s.Opened {
		t.Errorf("status is %+v", s)
	}
}

// copyAll sends b from one end, followed by a half-close, and checks that b arrives at the other.
func copyAll(t *testing.T, all *sync.WaitGroup, from, to *Conn, b []byte) {
	all.Go(func() {
		if _, err := from.Write(b); err != nil {
			t.Errorf("write: %v", err)
		}
		if err := from.CloseWrite(); err != nil {
			t.Errorf("half-close: %v", err)
		}
	})
	all.Go(func() {
		got, err := io.ReadAll(to)
		if err != nil {
			t.Errorf("read: %v", err)
		}
		if !bytes.Equal(got, b) {
			t.Errorf("got %d bytes, sent %d: they differ", len(got), len(b))
		}
	})
}

func TestBulkBothWays(t *testing.T) {
	l := newLab(t)
	defer l.close()
	client, server := l.pair()
	r := rand.New(rand.NewPCG(1, 2))
	var all sync.WaitGroup
	copyAll(t, &all, client, server, random(r, 5<<20))
	copyAll(t, &all, server, client, random(r, 3<<20))
	all.Wait()
	client.Close()
	server.Close()
	if err := client.Err(); err != nil {
		t.Errorf("client ended by %v", err)
	}
	if err := server.Err(); err != nil {
		t.Errorf("server ended by %v", err)
	}
}

func TestCutsDuringTransfer(t *testing.T) {
	l := newLab(t)
	defer l.close()
	l.net.shape = func(n int, line *line) {
		if n < 40 {
			line.up.cutAt = 100<<10 + n*7919
			line.down.cutAt = 150<<10 + n*6007
		}
	}
	client, server := l.pair()
	r := rand.New(rand.NewPCG(3, 4))
	var all sync.WaitGroup
	copyAll(t, &all, client, server, random(r, 4<<20))
	copyAll(t, &all, server, client, random(r, 4<<20))
	all.Wait()
	if s := client.Status(); s.Resumes < 5 {
		t.Errorf("only %d resumes: nothing was tested", s.Resumes)
	}
	client.Close()
	server.Close()
}

func TestStallDialsASecondPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		defer client.Close()
		exchange(t, client, server, "before")
		l.net.latest().stall(true)
		start := time.Now()
		pass(t, client, server, "during")
		if took := time.Since(start); took < 5*time.Second || took > 5100*time.Millisecond {
			t.Errorf("went on after %v, want PING at 2 s and a second path at 5 s", took)
		}
		pass(t, server, client, "after")
		if s := client.Status(); s.Stalls != 1 || s.Resumes != 1 || s.State != Up {
			t.Errorf("status is %+v", s)
		}
	})
}

func TestRefusedDialIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		defer client.Close()
		exchange(t, client, server, "before")
		synctest.Wait()
		l.net.set(func(f *faultNet) { f.refuse = errors.New("connection refused") })
		l.net.cutAll()
		time.Sleep(30 * time.Minute)
		if s := client.Status(); s.State != Redialling || s.Why != "connection refused" {
			t.Errorf("status is %+v", s)
		}
		if n := l.net.dialled(); n < 180 || n > 300 {
			t.Errorf("%d dials in 30 minutes", n)
		}
		l.net.set(func(f *faultNet) { f.refuse = nil })
		exchange(t, client, server, "after")
	})
}
