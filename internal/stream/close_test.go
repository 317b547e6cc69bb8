package stream

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestHalfCloseBothWays(t *testing.T) {
	for _, serverFirst := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			defer l.close()
			client, server := l.pair()
			a, b := client, server
			if serverFirst {
				exchange(t, client, server, "answered")
				a, b = server, client
			}
			if err := a.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if n, err := b.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Fatalf("read %d bytes, %v", n, err)
			}
			if _, err := a.Write([]byte("x")); err != io.ErrClosedPipe {
				t.Errorf("write after CloseWrite: %v", err)
			}
			time.Sleep(time.Hour)
			l.net.latest().cut()
			pass(t, b, a, "the other direction goes on")
			b.CloseWrite()
			if n, err := a.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Fatalf("read %d bytes, %v", n, err)
			}
			<-a.Done()
			<-b.Done()
			if a.Err() != nil || b.Err() != nil {
				t.Errorf("ended by %v and %v", a.Err(), b.Err())
			}
			synctest.Wait()
			if n, err := b.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("read %d bytes, %v after the end", n, err)
			}
			a.Close()
			b.Close()
		})
	}
}

// TestCloseOrders checks that data written before Close arrives, whichever end closes first.
func TestCloseOrders(t *testing.T) {
	for name, closing := range map[string]func(client, server *Conn){
		"client":        func(client, _ *Conn) { client.Close() },
		"server":        func(_, server *Conn) { server.Close() },
		"client, twice": func(client, server *Conn) { client.Close(); client.Close(); server.Close() },
		"server first":  func(client, server *Conn) { server.Close(); client.Close() },
		"at once": func(client, server *Conn) {
			done := make(chan struct{})
			go func() { server.Close(); close(done) }()
			client.Close()
			<-done
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				defer l.close()
				client, server := l.pair()
				exchange(t, client, server, "hello")
				start := time.Now()
				closing(client, server)
				client.Close()
				server.Close()
				<-client.Done()
				<-server.Done()
				if took := time.Since(start); took > lastWords {
					t.Errorf("closing took %v", took)
				}
				if client.Err() != nil || server.Err() != nil {
					t.Errorf("ended by %v and %v", client.Err(), server.Err())
				}
				if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("read after Close: %v", err)
				}
				if _, err := client.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("write after Close: %v", err)
				}
			})
		})
	}
}

// TestServerClosesWhileTheClientIsAway checks that a server's Close loses no bytes, even while the
// client is away for hours.
func TestServerClosesWhileTheClientIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		exchange(t, client, server, "hello")
		synctest.Wait()
		l.net.set(func(f *faultNet) { f.refuse = errCut })
		l.net.latest().cut()
		server.Write([]byte("last words"))
		server.Close()
		time.Sleep(8 * time.Hour)
		l.net.set(func(f *faultNet) { f.refuse = nil })
		if b, err := io.ReadAll(client); string(b) != "last words" || err != nil {
			t.Errorf("read %q, %v", b, err)
		}
		// The news that the reader has gone may arrive after the last bytes, which are accepted
		// until then.
		var err error
		for range 100 {
			if _, err = client.Write(make([]byte, 1<<20)); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		if !errors.Is(err, ErrStopped) {
			t.Errorf("writing to nobody: %v", err)
		}
		client.Close()
	})
}

// TestClientClosesWhileThereIsNoPath checks that a client's Close waits for its bytes, but not for
// ever.
func TestClientClosesWhileThereIsNoPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		exchange(t, client, server, "hello")
		l.net.set(func(f *faultNet) { f.refuse = errCut })
		l.net.latest().cut()
		client.Write([]byte("never to arrive"))
		start := time.Now()
		client.Close()
		if took := time.Since(start); took != lingerTime {
			t.Errorf("Close took %v", took)
		}
		if client.Err() == nil {
			t.Error("it is not told that bytes were lost")
		}
	})
}

func TestCloseWithErrorTellsTheOther(t *testing.T) {
	for _, fromServer := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			defer l.close()
			client, server := l.pair()
			exchange(t, client, server, "hello")
			a, b := client, server
			if fromServer {
				a, b = server, client
			}
			a.CloseWithError(errors.New("the disk is full"))
			_, err := b.Read(make([]byte, 1))
			var reset *ResetError
			if !errors.As(err, &reset) || reset.Text != "the disk is full" || !errors.Is(err, ErrReset) {
				t.Errorf("read: %v", err)
			}
			if _, err := b.Write([]byte("x")); !errors.As(err, &reset) {
				t.Errorf("write: %v", err)
			}
			b.Close()
			client.Close()
		})
	}
}

// TestResetWhileAway checks that a client that returns learns of a reset that it has missed.
func TestResetWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		exchange(t, client, server, "hello")
		synctest.Wait()
		l.net.set(func(f *faultNet) { f.refuse = errCut })
		l.net.latest().cut()
		synctest.Wait()
		server.CloseWithError(errors.New("out of memory"))
		l.net.set(func(f *faultNet) { f.refuse = nil })
		_, err := client.Read(make([]byte, 1))
		var reset *ResetError
		if !errors.As(err, &reset) || reset.Text != "out of memory" || !errors.Is(err, ErrReset) {
			t.Errorf("the client ends with %v", err)
		}
		client.Close()
	})
}

// TestServerClose checks that a server that is shut down reports that to its clients.
func TestServerClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		client, server := l.pair()
		exchange(t, client, server, "hello")
		synctest.Wait() // nothing is under way
		l.server.Close()
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, ErrReset) {
			t.Errorf("the client reads %v", err)
		}
		if _, err := l.server.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v", err)
		}
		client.Close()
		l.close()
	})
}

// TestLostLastAck checks that both ends end normally if only the last ACK is lost.
func TestLostLastAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		exchange(t, client, server, "hello")
		synctest.Wait()
		client.CloseWrite()
		io.ReadAll(server)
		synctest.Wait()
		l.net.latest().down.cutAt = l.net.latest().down.written() + 16 // the FIN, not the ACK of ours
		l.net.latest().up.stall(true)
		server.CloseWrite()
		<-client.Done()
		synctest.Wait()
		if client.Err() != nil {
			t.Errorf("the client ended by %v", client.Err())
		}
		client.Close()
	})
}

// TestLostAckOfAClosedClient checks that a client that has closed counts its bytes as delivered if
// the server says that the stream has finished.
func TestLostAckOfAClosedClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		client, server := l.pair()
		exchange(t, client, server, "hello")
		synctest.Wait()
		l.net.latest().down.stall(true)
		closed := make(chan struct{})
		go func() { client.Close(); close(closed) }()
		if b, err := io.ReadAll(server); len(b) > 0 || err != nil {
			t.Errorf("the server reads %q, %v", b, err)
		}
		server.Close()
		<-server.Done()
		l.net.latest().cut()
		<-closed
		if client.Err() != nil || server.Err() != nil {
			t.Errorf("ended by %v and %v", client.Err(), server.Err())
		}
	})
}
