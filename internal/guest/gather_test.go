//go:build linux

package guest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
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

// socketPair are the two ends of a connection that buffers.
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

// gathering serves one connection with a hold of that length, and returns it and
// a client on its other end.
func gathering(t *testing.T, hold time.Duration) (*counted, *ssh.Client) {
	t.Helper()
	home, keyFile := newHome(t)
	pem, err := os.ReadFile(keyFile)
	must(t, err)
	signer, err := ssh.ParsePrivateKey(pem)
	must(t, err)
	hostKey, err := newHostKey(newPrivateKey(t))
	must(t, err)
	server := newServer(home, here(t), os.Environ(), hostKey, &logger{&lockedBuffer{}})
	server.gather = hold
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

// forGood is a hold that no test outlives: what arrives all the same was not
// held back, or was released by what came behind it.
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

func TestWhatIsHeldBackIsReleased(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	g := &gatherer{Conn: ours, limit: time.Millisecond}
	g.hold()
	_, err := g.Write([]byte("alone"))
	must(t, err)
	got := make([]byte, 5)
	if _, err := io.ReadFull(theirs, got); err != nil || string(got) != "alone" { // by the timer
		t.Fatalf("read %q, %v", got, err)
	}

	g.limit = forGood
	g.hold()
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
