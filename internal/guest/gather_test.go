//go:build linux

package guest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// counted is the server's end of a connection. It counts the writes: over a jump
// host, each is a segment of its own.
type counted struct {
	net.Conn
	writes atomic.Int32
}

func (c *counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// socketPair returns the two ends of a connection that buffers.
func socketPair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	theirs, err = net.Dial("tcp", l.Addr().String())
	must(t, err)
	ours, err = l.Accept()
	must(t, err)
	return ours, theirs
}

// gathering serves one connection whose writes are held for the given time. It returns the
// connection and a client on its other end.
func gathering(t *testing.T, hold time.Duration) (*counted, *ssh.Client) {
	t.Helper()
	return serving(t, func(s *Server) { s.gather = hold })
}

// serving is gathering with a given server.
func serving(t *testing.T, prepare func(*Server)) (*counted, *ssh.Client) {
	t.Helper()
	home, keyFile := newHome(t)
	pem, err := os.ReadFile(keyFile)
	must(t, err)
	signer, err := ssh.ParsePrivateKey(pem)
	must(t, err)
	hostKey, err := newHostKey(newPrivateKey(t))
	must(t, err)
	server := newServer(home, here(t), os.Environ(), hostKey, &logger{&lockedBuffer{}})
	prepare(server)
	ours, theirs := socketPair(t)
	conn := &counted{Conn: ours}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.serveConn(context.Background(), conn, server.strangers.Enter(0, func() {}), func() error { return nil })
	}()
	c, chans, reqs, err := ssh.NewClientConn(theirs, "ws", &ssh.ClientConfig{
		User: "tester", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.FixedHostKey(hostKey.PublicKey()),
	})
	must(t, err)
	client := ssh.NewClient(c, chans, reqs)
	t.Cleanup(func() { client.Close(); <-done })
	return conn, client
}

// forGood is a hold that no test outlives. Data that arrives nevertheless was not held back, or
// later data has released it.
const forGood = time.Hour

func TestAShortProgramIsOneWrite(t *testing.T) {
	conn, client := gathering(t, forGood)
	for _, command := range []string{"true", "echo hi", "echo hi; echo ho >&2; exit 3", "kill -9 $$"} {
		session, err := client.NewSession()
		must(t, err)
		var out bytes.Buffer
		session.Stdout = &out
		before := conn.writes.Load()
		err = session.Run(command)
		if exit := (*ssh.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Errorf("%s: %v", command, err)
		}
		if n := conn.writes.Load() - before; n != 1 {
			t.Errorf("%s: its beginning, words and end took %d writes", command, n)
		}
	}
}

func TestATerminalIsNeverHeldBack(t *testing.T) {
	_, client := gathering(t, forGood)
	session, err := client.NewSession()
	must(t, err)
	must(t, session.RequestPty("xterm", 24, 80, nil))
	in, err := session.StdinPipe()
	must(t, err)
	out, err := session.StdoutPipe()
	must(t, err)
	must(t, session.Start("stty raw -echo; echo ready; cat"))
	await := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(out, got); err != nil || string(got) != want {
			t.Fatalf("read %q, %v", got, err)
		}
	}
	await("ready\n")
	for _, key := range []string{"a", "b", "c"} {
		_, err := io.WriteString(in, key)
		must(t, err)
		await(key)
	}
}

// TestNobodyWaitsForAnothersProgram checks that a hold for one channel, which is endless here, does
// not delay the bytes of other channels.
func TestNobodyWaitsForAnothersProgram(t *testing.T) {
	echo := map[string]func(*testing.T, *ssh.Client) io.ReadWriteCloser{
		"a terminal": func(t *testing.T, client *ssh.Client) io.ReadWriteCloser {
			s, in, out := open(t, client, true, "stty raw -echo; printf r; cat")
			return pipes{out, in, s}
		},
		"a forward": func(t *testing.T, client *ssh.Client) io.ReadWriteCloser {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			t.Cleanup(func() { l.Close() })
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, "r")
				_, _ = io.Copy(conn, conn)
			}()
			conn, err := client.Dial("tcp", l.Addr().String())
			must(t, err)
			return conn
		},
	}
	for name, start := range echo {
		t.Run(name, func(t *testing.T) {
			_, client := gathering(t, forGood)
			conn := start(t, client)
			defer conn.Close()
			other, _, _ := open(t, client, false, "exec cat")
			defer other.Close()
			await := func(want string) {
				t.Helper()
				got := make([]byte, len(want))
				if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
					t.Fatalf("read %q, %v", got, err)
				}
			}
			await("r")
			for _, key := range strings.Split("abcdefghijklmnopqrstuvwxyz", "") {
				_, err := io.WriteString(conn, key)
				must(t, err)
				await(key)
			}
		})
	}
}

// pipes are a session's output and input.
type pipes struct {
	io.Reader
	io.WriteCloser
	session *ssh.Session
}

func (p pipes) Close() error { return p.session.Close() }

// open begins a session without waiting for the confirmation, which may be held back.
func open(t *testing.T, client *ssh.Client, terminal bool, command string) (*ssh.Session, io.WriteCloser, io.Reader) {
	t.Helper()
	s, err := client.NewSession()
	must(t, err)
	if terminal {
		must(t, s.RequestPty("xterm", 24, 80, nil))
	}
	in, err := s.StdinPipe()
	must(t, err)
	out, err := s.StdoutPipe()
	must(t, err)
	go func() { _ = s.Start(command) }()
	return s, in, out
}

func TestASubsystemsEndIsOneWrite(t *testing.T) {
	conn, client := gathering(t, forGood)
	session, err := client.NewSession()
	must(t, err)
	in, err := session.StdinPipe()
	must(t, err)
	out, err := session.StdoutPipe()
	must(t, err)
	before := conn.writes.Load()
	go func() { _ = session.RequestSubsystem("sftp") }()
	must(t, in.Close())
	if rest, err := io.ReadAll(out); len(rest) > 0 || err != nil {
		t.Errorf("read %q, %v", rest, err)
	}
	if n := conn.writes.Load() - before; n > 1 {
		t.Errorf("its beginning and end took %d writes", n)
	}
}

// TestAnAgentsRequestIsWhole checks that a request that ssh-add or ssh writes in two parts,
// length and body, reaches the client in one piece.
func TestAnAgentsRequestIsWhole(t *testing.T) {
	ours, theirs := unixPair(t)
	read := make(chan string, 2)
	r := wholeRequests{ours, forGood}
	go func() {
		var buf [64]byte
		for range 2 {
			n, _ := r.Read(buf[:])
			read <- string(buf[:n])
		}
	}()
	_, err := theirs.Write([]byte{0, 0, 0, 1})
	must(t, err)
	_, err = theirs.Write([]byte{11})
	must(t, err)
	if got := <-read; got != "\x00\x00\x00\x01\x0b" {
		t.Errorf("read %q", got)
	}
	_, err = theirs.Write([]byte("whole already"))
	must(t, err)
	if got := <-read; got != "whole already" {
		t.Errorf("read %q", got)
	}
	// A length without a body is not held for long.
	r.patience = time.Millisecond
	_, err = theirs.Write([]byte{0, 0, 0, 1})
	must(t, err)
	var buf [64]byte
	if n, err := r.Read(buf[:]); n != 4 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	theirs.Close()
	if n, err := r.Read(buf[:]); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func unixPair(t *testing.T) (ours, theirs *net.UnixConn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	must(t, err)
	defer l.Close()
	b, err := net.Dial("unix", l.Addr().String())
	must(t, err)
	a, err := l.Accept()
	must(t, err)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a.(*net.UnixConn), b.(*net.UnixConn)
}

func TestWhatIsHeldBackIsReleased(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	g := &gatherer{Conn: ours, limit: time.Millisecond}
	g.hold(nil)
	_, err := g.Write([]byte("alone"))
	must(t, err)
	got := make([]byte, 5)
	if _, err := io.ReadFull(theirs, got); err != nil || string(got) != "alone" { // by the timer
		t.Fatalf("read %q, %v", got, err)
	}

	g.limit = forGood
	g.hold(nil)
	big := bytes.Repeat([]byte("x"), maxGathered)
	go func() {
		_, _ = g.Write([]byte("small"))
		_, _ = g.Write(big)
		ours.Close()
	}()
	all, err := io.ReadAll(theirs)
	if err != nil || string(all) != "small"+string(big) {
		t.Errorf("read %d bytes, %v", len(all), err)
	}
}

// TestMemoryIsGivenBackUnderAConnectionThatStays checks that the memory of an ended session is
// given back although its connection stays open, as a mux's does, with channels that are opened
// ahead.
func TestMemoryIsGivenBackUnderAConnectionThatStays(t *testing.T) {
	released := make(chan struct{}, 10)
	_, client := serving(t, func(s *Server) {
		s.rest.Stop()
		s.rest = time.AfterFunc(time.Hour, func() { released <- struct{}{} })
	})
	ahead, requests, err := client.OpenChannel("session", nil)
	must(t, err)
	defer ahead.Close()
	go ssh.DiscardRequests(requests) // until the connection ends
	session, err := client.NewSession()
	must(t, err)
	must(t, session.Run("true"))
	select {
	case <-released:
	case <-time.After(patience):
		t.Error("it is not")
	}
}
