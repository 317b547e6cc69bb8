package stream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// TestHandOver checks that a stream moves from process to process while bytes are under way in both
// directions.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		exchange(t, client, server, "hello")
		r := rand.New(rand.NewPCG(7, 8))
		up, down := random(r, 2<<20), random(r, 2<<20)
		served := make(chan []byte)
		go func() {
			server.Write(down)
			server.CloseWrite()
		}()
		go func() {
			b, _ := io.ReadAll(server)
			served <- b
		}()
		var got []byte
		rest := up
		for range 8 {
			client.SetWriteDeadline(time.Now().Add(time.Second))
			n, _ := client.Write(rest[:min(len(rest), 300<<10)])
			rest = rest[n:]
			part := make([]byte, 100<<10)
			n, _ = io.ReadFull(client, part)
			got = append(got, part[:n]...)

			state, err := client.HandOver()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Read(part); err == nil {
				t.Fatal("the old process still reads")
			}
			if !errors.Is(client.Err(), ErrMoved) {
				t.Fatalf("the old process has ended by %v", client.Err())
			}
			client.Close()
			if client, err = Restore(context.Background(), l.config(), state); err != nil {
				t.Fatal(err)
			}
		}
		client.Write(rest)
		client.CloseWrite()
		b, err := io.ReadAll(client)
		if got = append(got, b...); err != nil || !bytes.Equal(got, down) {
			t.Errorf("down: %d bytes of %d, %v", len(got), len(down), err)
		}
		if b := <-served; !bytes.Equal(b, up) {
			t.Errorf("up: %d bytes of %d", len(b), len(up))
		}
		client.Close()
		if err := client.Err(); err != nil {
			t.Errorf("the client ended by %v", err)
		}
	})
}

// TestHandOverOfWhatIsReceivedButUnread checks the handover of a stream whose other end has
// received everything and whose other user has read nothing. Nothing is sent again, and later bytes
// follow.
func TestHandOverOfWhatIsReceivedButUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		exchange(t, client, server, "hello")
		client.Write([]byte("before"))
		synctest.Wait()
		state, err := client.HandOver()
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
		if client, err = Restore(context.Background(), l.config(), state); err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for client.Status().State != Up {
			<-client.Changed()
		}
		client.Write([]byte(", after"))
		server.SetReadDeadline(time.Now().Add(time.Minute))
		got := make([]byte, len("before, after"))
		if n, err := io.ReadFull(server, got); err != nil {
			t.Errorf("%q, %v", got[:n], err)
		}
	})
}

// TestHandOverOfHalfClosed checks that a stream is restored unchanged if one direction or both have
// ended.
func TestHandOverOfHalfClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		exchange(t, client, server, "hello")
		synctest.Wait()
		l.net.set(func(f *faultNet) { f.refuse = errCut })
		server.Write([]byte("unread"))
		server.CloseWrite()
		synctest.Wait()
		l.net.latest().cut()
		client.Write([]byte("unsent"))
		client.CloseWrite()
		state, err := client.HandOver()
		if err != nil {
			t.Fatal(err)
		}
		l.net.set(func(f *faultNet) { f.refuse = nil })
		again, err := Restore(context.Background(), l.config(), state)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(again); string(b) != "unread" || err != nil {
			t.Errorf("the client reads %q, %v", b, err)
		}
		if b, err := io.ReadAll(server); string(b) != "unsent" || err != nil {
			t.Errorf("the server reads %q, %v", b, err)
		}
		again.Close()
		client.Close()
	})
}

// TestHandOverAfterTheFIN checks that a FIN that the other end has acknowledged is not sent again
// by another process, at another offset.
func TestHandOverAfterTheFIN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		exchange(t, client, server, "hello")
		client.CloseWrite()
		if b, err := io.ReadAll(server); len(b) > 0 || err != nil {
			t.Fatalf("the server reads %q, %v", b, err)
		}
		synctest.Wait()
		state, err := client.HandOver()
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
		again, err := Restore(context.Background(), l.config(), state)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		pass(t, server, again, "what is left to be said")
		server.CloseWrite()
		<-again.Done()
		if s := again.Status(); again.Err() != nil || s.Resumes != 1 || s.Up != 5 {
			t.Errorf("it ended by %v: %+v", again.Err(), s)
		}
		again.Close()
	})
}

func savedSeeds() [][]byte {
	return [][]byte{
		(&saved{epoch: 1}).encode(),
		(&saved{keys: keys{id: [16]byte{1}}, flags: savedAll, base: 100, sent: 103, consumed: 7, unacked: []byte("abc"), unread: []byte("defg")}).encode(),
	}
}

func FuzzSaved(f *testing.F) {
	for _, b := range savedSeeds() {
		if _, err := decodeSaved(b); err != nil {
			f.Fatalf("a seed is wrong: %v", err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSaved(b)
		if err != nil {
			return
		}
		if again := s.encode(); !bytes.Equal(again, b) {
			t.Fatalf("%x becomes %x", b, again)
		}
		tx, rx := newSendQueue(NewBudget(0)), newRecvQueue(NewBudget(0))
		tx.restore(s)
		rx.restore(s)
		if got := make([]byte, len(s.unread)); rx.read(got) != len(got) || !bytes.Equal(got, s.unread) {
			t.Fatal("what was unread is not what can be read")
		}
		if s.flags&savedSendGone == 0 && !bytes.Equal(tx.contents(), s.unacked) {
			t.Fatal("what was unacknowledged is not what is in the ring")
		}
		tx.abandon()
		rx.release()
	})
}
