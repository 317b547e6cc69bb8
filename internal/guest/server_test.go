//go:build linux

package guest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
	"keyway/internal/unixsock"
	"keyway/test/await"
)

// inProcess is a server within the test, which must leave no goroutine behind.
type inProcess struct {
	home   keyway.Home
	key    ed25519.PrivateKey
	signer ssh.Signer
	user   string
	news   *lockedBuffer
	stop   func()
}

func serveInProcess(t *testing.T, account Account) *inProcess {
	t.Helper()
	before := goleak.IgnoreCurrent()
	home, keyFile := newHome(t)
	pem, err := os.ReadFile(keyFile)
	must(t, err)
	p := &inProcess{home: home, user: account.Name, news: &lockedBuffer{}}
	p.signer, err = ssh.ParsePrivateKey(pem)
	must(t, err)
	p.key = newPrivateKey(t)
	hostKey, err := newHostKey(p.key)
	must(t, err)
	l, err := listenReplacing(home.Socket(), 0o666)
	must(t, err)
	agent, err := unixsock.Listen(home.AgentSocket(), 0o600)
	must(t, err)
	server := newServer(home, account, os.Environ(), hostKey, &logger{p.news})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l, agent) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		p.stop()
		awaitGoroutines(t, before)
	})
	return p
}

// awaitGoroutines waits until only the goroutines of before are left. Programs that clients have
// started end at any time, and with them the goroutines that wait for them.
func awaitGoroutines(t *testing.T, before goleak.Option) {
	t.Helper()
	for late := time.Now().Add(time.Minute); ; {
		err := goleak.Find(before)
		if err == nil {
			return
		}
		if time.Now().After(late) {
			t.Error(err)
			return
		}
	}
}

func here(t *testing.T) Account {
	t.Helper()
	return Account{Name: "tester", Home: t.TempDir(), Start: t.TempDir(), Shell: "/bin/sh"}
}

func (p *inProcess) config(user string, keys ...ssh.Signer) *ssh.ClientConfig {
	return &ssh.ClientConfig{
		User:            user,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(keys...)},
		HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error { return nil },
	}
}

func (p *inProcess) login(user string, keys ...ssh.Signer) (*ssh.Client, error) {
	conn, err := unixsock.Dial(p.home.Socket())
	if err != nil {
		return nil, err
	}
	c, chans, reqs, err := ssh.NewClientConn(conn, "ws", p.config(user, keys...))
	if err != nil {
		conn.Close()
		return nil, err
	}
	return ssh.NewClient(c, chans, reqs), nil
}

func (p *inProcess) client(t *testing.T) *ssh.Client {
	t.Helper()
	c, err := p.login(p.user, p.signer)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestLoginIsRefusedWithAReason(t *testing.T) {
	p := serveInProcess(t, here(t))
	stranger, err := ssh.NewSignerFromKey(newPrivateKey(t))
	must(t, err)
	for _, c := range []struct {
		user, reason string
		key          ssh.Signer
	}{
		{"tester", "not among those that may enter", stranger},
		{"root", `the user here is \"tester\", not \"root\"`, p.signer},
	} {
		if client, err := p.login(c.user, c.key); err == nil {
			client.Close()
			t.Errorf("%s was let in", c.user)
		}
		await.That(t, "the log has the reason", func() bool { return strings.Contains(strings.ReplaceAll(p.news.String(), `\\\`, `\`), c.reason) })
	}
	must(t, os.Remove(p.home.AuthorizedKeys()))
	if client, err := p.login(p.user, p.signer); err == nil {
		client.Close()
		t.Error("somebody was let in without a list of keys")
	}
}

// TestAnAgentWithManyKeys checks that an agent may offer many keys before the right one without
// being taken for an attacker.
func TestAnAgentWithManyKeys(t *testing.T) {
	p := serveInProcess(t, here(t))
	var many []ssh.Signer
	for range 100 {
		other, err := ssh.NewSignerFromKey(newPrivateKey(t))
		must(t, err)
		many = append(many, other)
	}
	c, err := p.login(p.user, append(many, p.signer)...)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestACertificateEntersAsItsKey checks that a certificate grants nothing by itself, whichever
// authority has signed it. It counts as its key.
func TestACertificateEntersAsItsKey(t *testing.T) {
	p := serveInProcess(t, here(t))
	authority, err := ssh.NewSignerFromKey(newPrivateKey(t))
	must(t, err)
	stranger, err := ssh.NewSignerFromKey(newPrivateKey(t))
	must(t, err)
	certified := func(signer, by ssh.Signer) ssh.Signer {
		cert := &ssh.Certificate{Key: signer.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{p.user}, ValidBefore: ssh.CertTimeInfinity}
		must(t, cert.SignCert(rand.Reader, by))
		s, err := ssh.NewCertSigner(cert, signer)
		must(t, err)
		return s
	}
	c, err := p.login(p.user, certified(p.signer, authority))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	for who, signer := range map[string]ssh.Signer{"a stranger": authority, "one who may enter": p.signer} {
		if c, err := p.login(p.user, certified(stranger, signer)); err == nil {
			c.Close()
			t.Errorf("a stranger's key entered with a certificate of %s", who)
		}
	}
}

func TestKeysAreReadAtEachLogin(t *testing.T) {
	p := serveInProcess(t, here(t))
	c, err := p.login(p.user, p.signer)
	must(t, err)
	c.Close()
	must(t, os.WriteFile(p.home.AuthorizedKeys(), []byte("# nobody\n"), 0o600))
	if c, err := p.login(p.user, p.signer); err == nil {
		c.Close()
		t.Fatal("a removed key was let in")
	}
}

// TestStrangersAreBounded checks that silent connections are bounded, and that they keep out no
// client, over plain SSH or over a stream.
func TestStrangersAreBounded(t *testing.T) {
	p := serveInProcess(t, here(t))
	ended := make(chan struct{}, 4*maxStrangers)
	for i := range 4 * maxStrangers {
		conn := dialUnix(t, p.home.Socket())
		defer conn.Close()
		if i%4 == 0 { // a client that sends its version, and then nothing
			_, err := io.WriteString(conn, "SSH-2.0-silent\r\n")
			if !errors.Is(err, syscall.EPIPE) { // of a client that was disconnected already
				must(t, err)
			}
		}
		go func() { // until its connection is closed, at the latest with the test
			_, _ = io.Copy(io.Discard, conn)
			ended <- struct{}{}
		}()
	}
	for range 3 * maxStrangers {
		<-ended
	}
	// The guest may choose the new connection itself to make room; usually it does not.
	let, sent := 0, 0
	for let < 5 {
		c, err := p.login(p.user, p.signer)
		if err == nil {
			let++
			c.Close()
		} else if sent++; sent > 5 {
			t.Fatalf("%d were let in, and %d were not: %v", let, sent, err)
		}
	}
}

// TestNoIdentification checks that a client that does not speak SSH gets an error and is
// disconnected at once.
func TestNoIdentification(t *testing.T) {
	p := serveInProcess(t, here(t))
	for _, said := range []string{"\n", "GET / HTTP/1.1\r\n\r\n", "xyzzy\n", "SSX", "S\n", "\x00\x00\x00\x00", "\x16\x03\x01"} {
		conn := dialUnix(t, p.home.Socket())
		_, err := io.WriteString(conn, said)
		must(t, err)
		answer, err := io.ReadAll(conn)
		conn.Close()
		if want := serverVersion + "\r\nInvalid SSH identification string.\r\n"; err != nil || string(answer) != want {
			t.Errorf("to %q it answers %q, %v", said, answer, err)
		}
	}
}

func TestManyChannelsAtOnce(t *testing.T) {
	p := serveInProcess(t, here(t))
	c := p.client(t)
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			s, err := c.NewSession()
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			s.Stdin = strings.NewReader(fmt.Sprint("input ", i))
			out, err := s.Output("cat; exit 0")
			if err != nil || string(out) != fmt.Sprint("input ", i) {
				t.Errorf("%d: %q, %v", i, out, err)
			}
		})
	}
	all.Wait()
}

func TestChannelsAreBounded(t *testing.T) {
	p := serveInProcess(t, here(t))
	c := p.client(t)
	for range maxChannels {
		ch, reqs, err := c.OpenChannel("session", nil)
		must(t, err)
		go ssh.DiscardRequests(reqs)
		defer ch.Close()
	}
	_, _, err := c.OpenChannel("session", nil)
	var open *ssh.OpenChannelError
	if !errors.As(err, &open) || open.Reason != ssh.ResourceShortage {
		t.Fatalf("got %v", err)
	}
}

// TestSlowReaderCostsBoundedMemory checks that a client that does not read makes the program wait,
// and that the guest holds no more than its buffers.
func TestSlowReaderCostsBoundedMemory(t *testing.T) {
	p := serveInProcess(t, here(t))
	c := p.client(t)
	const channels = 8
	var slow []ssh.Channel
	for range channels {
		ch, reqs, err := c.OpenChannel("session", nil)
		must(t, err)
		go ssh.DiscardRequests(reqs)
		ok, err := ch.SendRequest("exec", true, ssh.Marshal(execRequest{"head -c 20000000 /dev/zero"}))
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		slow = append(slow, ch)
	}
	// Once a byte of each has arrived, all of them send until their windows are full.
	for _, ch := range slow {
		_, err := ch.Read(make([]byte, 1))
		must(t, err)
	}
	var m runtime.MemStats
	await.That(t, "the heap stays within the clients' own windows", func() bool {
		runtime.GC()
		runtime.ReadMemStats(&m)
		// 2 MiB is x/crypto's window, held by the client in this same process.
		return m.HeapAlloc < channels*(3<<20)
	})
	for _, ch := range slow {
		n, err := io.Copy(io.Discard, ch)
		if n != 20000000-1 || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	p := serveInProcess(t, here(t))
	c := p.client(t)
	if ok, _, err := c.SendRequest("keepalive@openssh.com", true, nil); ok || err != nil {
		t.Errorf("keepalive: %v %v", ok, err)
	}
	if _, _, err := c.OpenChannel("x11", nil); err == nil {
		t.Error("an unknown channel was opened")
	}
	ch, reqs, err := c.OpenChannel("session", nil)
	must(t, err)
	go ssh.DiscardRequests(reqs)
	defer ch.Close()
	for name, payload := range map[string][]byte{
		"x11-req": nil, "exec": {1, 2, 3}, "subsystem": ssh.Marshal(execRequest{"netconf"}), "signal": ssh.Marshal(signalRequest{"TERM"}),
		"window-change": ssh.Marshal(windowChange{}), "pty-req": {0}, "env": ssh.Marshal(envRequest{"PATH", "/"}),
		"break": nil, "eow@openssh.com": nil, "keepalive@openssh.com": nil,
	} {
		if ok, err := ch.SendRequest(name, true, payload); ok || err != nil {
			t.Errorf("%s: %v %v", name, ok, err)
		}
	}
	if ok, err := ch.SendRequest("exec", true, ssh.Marshal(execRequest{"cat"})); !ok || err != nil {
		t.Errorf("exec: %v %v", ok, err)
	}
	if ok, err := ch.SendRequest("exec", true, ssh.Marshal(execRequest{"cat"})); ok || err != nil {
		t.Errorf("a second exec: %v %v", ok, err)
	}
}

func TestNoMoreSessions(t *testing.T) {
	p := serveInProcess(t, here(t))
	c := p.client(t)
	if ok, _, err := c.SendRequest("no-more-sessions@openssh.com", true, nil); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, _, err := c.OpenChannel("session", nil); err == nil {
		t.Fatal("a session was opened")
	}
}

func TestSignalsReachTheCommand(t *testing.T) {
	p := serveInProcess(t, here(t))
	s, err := p.client(t).NewSession()
	must(t, err)
	defer s.Close()
	out, err := s.StdoutPipe()
	must(t, err)
	must(t, s.Start("trap 'echo got it; exit 0' USR1; echo ready; while :; do sleep 0.01; done"))
	buf := make([]byte, 6)
	_, err = io.ReadFull(out, buf)
	must(t, err)
	must(t, s.Signal(ssh.SIGUSR1))
	rest, err := io.ReadAll(out)
	if err != nil || string(rest) != "got it\n" || s.Wait() != nil {
		t.Fatalf("%q, %v", rest, err)
	}
}

func TestExitSignal(t *testing.T) {
	p := serveInProcess(t, here(t))
	s, err := p.client(t).NewSession()
	must(t, err)
	defer s.Close()
	var exit *ssh.ExitError
	if err := s.Run("kill -SEGV $$"); !errors.As(err, &exit) || exit.Signal() != "SEGV" {
		t.Fatalf("got %v", err)
	}
}

func TestListenersAreBoundedAndEndWithTheConnection(t *testing.T) {
	p := serveInProcess(t, here(t))
	c := p.client(t)
	var first net.Listener
	for range maxListeners {
		l, err := c.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		first = l
	}
	if _, err := c.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Error("one too many was given")
	}
	must(t, first.Close())
	l, err := c.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	c.Close()
	await.That(t, "nobody listens any more", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}

// TestStopWithClients checks that the end of the server ends its connections, and leaves jobs
// running.
func TestStopWithClients(t *testing.T) {
	p := serveInProcess(t, here(t))
	c := p.client(t)
	s, err := c.NewSession()
	must(t, err)
	must(t, s.RequestPty("xterm", 24, 80, nil))
	in, err := s.StdinPipe()
	must(t, err)
	defer in.Close()
	out, err := s.StdoutPipe()
	must(t, err)
	must(t, s.Start("echo $$; exec sleep 1000"))
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	p.stop()
	if err := c.Wait(); err == nil {
		t.Error("the client was told nothing")
	}
	_ = s.Wait()
}

// TestForwardedDataBeforeTheClose checks that a channel that is closed right after its last data
// delivers that data.
func TestForwardedDataBeforeTheClose(t *testing.T) {
	p := serveInProcess(t, here(t))
	c := p.client(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	path := filepath.Join(t.TempDir(), "sink.sock")
	l, err := unixsock.Listen(path, 0o600)
	must(t, err)
	defer l.Close()
	for range 10 {
		ch, reqs, err := c.OpenChannel("direct-streamlocal@openssh.com", ssh.Marshal(streamlocalChannel{Path: path}))
		must(t, err)
		go ssh.DiscardRequests(reqs)
		conn, err := l.Accept()
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = ch.Write(data)
		must(t, err)
		must(t, ch.Close())
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d of %d bytes have come: %v", len(got), len(data), err)
		}
		conn.Close()
	}
}
