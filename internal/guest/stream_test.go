//go:build linux

package guest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"keyway/internal/stream"
	"keyway/internal/unixsock"
	"keyway/test/await"
)

// cutPath is the path of a client to the guest. Its latest connection can be cut.
type cutPath struct {
	socket string
	mu     sync.Mutex
	latest net.Conn
	dials  int

	blocked chan struct{} // nil: no dial waits for it to be closed
}

func (w *cutPath) block(until chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blocked = until
}

func (w *cutPath) dial(context.Context) (net.Conn, error) {
	w.mu.Lock()
	blocked := w.blocked
	w.mu.Unlock()
	if blocked != nil {
		<-blocked
	}
	conn, err := unixsock.Dial(w.socket)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.latest, w.dials = conn, w.dials+1
	return conn, err
}

func (w *cutPath) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.latest.Close()
}

// overStream returns an SSH client whose connection is a stream over w.
func (p *inProcess) overStream(t *testing.T, w *cutPath) (*ssh.Client, *stream.Conn) {
	t.Helper()
	s, err := stream.Dial(t.Context(), stream.Config{Dial: w.dial, HostKey: p.key.Public().(ed25519.PublicKey)})
	must(t, err)
	c, chans, reqs, err := ssh.NewClientConn(s, "ws", p.config(p.user, p.signer))
	must(t, err)
	return ssh.NewClient(c, chans, reqs), s
}

// TestSSHSurvivesCutConnections checks that an SSH connection inside a stream survives the loss of
// the stream's paths.
func TestSSHSurvivesCutConnections(t *testing.T) {
	p := serveInProcess(t, here(t))
	w := &cutPath{socket: p.home.Socket()}
	client, s := p.overStream(t, w)
	defer client.Close()
	session, err := client.NewSession()
	must(t, err)
	data := make([]byte, 8<<20)
	rand.Read(data)
	in, out := bytes.NewReader(data), &bytes.Buffer{}
	var sent int
	session.Stdin = readerFunc(func(b []byte) (int, error) {
		n, err := in.Read(b)
		if sent += n; sent/(1<<20) > (sent-n)/(1<<20) {
			w.cut()
		}
		return n, err
	})
	session.Stdout = out
	must(t, session.Run("cat"))
	if sha256.Sum256(out.Bytes()) != sha256.Sum256(data) {
		t.Errorf("%d bytes came back of %d, or others", out.Len(), len(data))
	}
	if st := s.Status(); st.Resumes < 5 || w.dials <= st.Resumes {
		t.Errorf("%d resumes, %d dials", st.Resumes, w.dials)
	}
}

// TestWhatWasGivenUpDoesNotRun checks that a command that was asked for while the stream had no path,
// and given up, does not run when there is a path again. Others do.
func TestWhatWasGivenUpDoesNotRun(t *testing.T) {
	p := serveInProcess(t, here(t))
	w := &cutPath{socket: p.home.Socket()}
	back := make(chan struct{})
	client, s := p.overStream(t, w)
	defer client.Close()
	given, requests, err := client.OpenChannel("session", nil)
	must(t, err)
	go ssh.DiscardRequests(requests)
	kept, err := client.NewSession()
	must(t, err)
	w.block(back)
	w.cut()
	await.That(t, "the stream has no path", func() bool { return s.Status().State == stream.Redialling }, func() string { return s.Status().Why })
	file := filepath.Join(t.TempDir(), "ran")
	_, err = given.SendRequest("exec", false, ssh.Marshal(execRequest{"echo given >>" + file}))
	must(t, err)
	must(t, given.Close())
	close(back)
	must(t, kept.Run("echo kept >>"+file))
	// These come later than the start of what was given up.
	for range 2 {
		session, err := client.NewSession()
		must(t, err)
		must(t, session.Run("true"))
	}
	if ran, err := os.ReadFile(file); err != nil || string(ran) != "kept\n" {
		t.Errorf("%q, %v", ran, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// TestASilentClientIsSpokenToInSSH checks that the guest treats a client that waits for the
// server's first bytes as an SSH client.
func TestASilentClientIsSpokenToInSSH(t *testing.T) {
	p := serveInProcess(t, here(t))
	conn, err := unixsock.Dial(p.home.Socket())
	must(t, err)
	defer conn.Close()
	first := make([]byte, len(serverVersion))
	if _, err := io.ReadFull(conn, first); err != nil || string(first) != serverVersion {
		t.Errorf("%q, %v", first, err)
	}
}

// TestWhoOnlyLooksIsNotRefused checks that a client that leaves before a login, such as an unused
// spare or a scanner that reads the version, causes no warning.
func TestWhoOnlyLooksIsNotRefused(t *testing.T) {
	p := serveInProcess(t, here(t))
	left := func(n int) {
		t.Helper()
		await.That(t, "the log has the end", func() bool { return strings.Count(p.news.String(), "level=INFO msg=left") == n }, p.news.String)
	}
	const version = "SSH-2.0-Test_1.0\r\n"
	answer := make([]byte, len(serverVersion))
	spare, err := stream.Dial(t.Context(), stream.Config{Dial: (&cutPath{socket: p.home.Socket()}).dial, HostKey: p.key.Public().(ed25519.PublicKey)})
	must(t, err)
	_, err = io.WriteString(spare, version)
	must(t, err)
	_, err = io.ReadFull(spare, answer)
	must(t, err)
	must(t, spare.CloseWrite())
	left(1)
	must(t, spare.Close())
	if !isGone(&stream.ResetError{Text: "nobody has taken it"}) { // whose message may be lost where the other end is busy
		t.Error("a client that gives up its stream is refused")
	}
	plain, err := unixsock.Dial(p.home.Socket())
	must(t, err)
	_, err = io.WriteString(plain, version)
	must(t, err)
	_, err = io.ReadFull(plain, answer)
	must(t, err)
	must(t, plain.Close())
	left(2)
	if log := p.news.String(); strings.Contains(log, "level=WARN") {
		t.Error(log)
	}
}

// TestASpareHoldsLittle checks that a spare stream uses little memory at either end. Both ends have
// sent their version, and no ssh uses it yet.
func TestASpareHoldsLittle(t *testing.T) {
	p := serveInProcess(t, here(t))
	const (
		spares = 50
		most   = 48 << 10 // bytes of an end, the mean of both: a server of x/crypto's that waits is the most of it
	)
	held := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := held()
	all := make([]*stream.Conn, spares)
	for i := range all {
		var err error
		all[i], err = stream.Dial(t.Context(), stream.Config{Dial: (&cutPath{socket: p.home.Socket()}).dial, HostKey: p.key.Public().(ed25519.PublicKey)})
		must(t, err)
		_, err = io.WriteString(all[i], "SSH-2.0-Test_1.0\r\n")
		must(t, err)
		_, err = io.ReadFull(all[i], make([]byte, len(serverVersion)))
		must(t, err)
	}
	end := float64(held()-before) / spares / 2
	t.Logf("%.1f KiB/end", end/1024)
	if end > most*memoryFactor {
		t.Errorf("an end of a spare stream holds %.1f KiB", end/1024)
	}
	for _, s := range all {
		must(t, s.CloseWithError(io.ErrClosedPipe))
	}
}

// TestStreamsEndWithTheServer checks that the end of the server ends its streams.
func TestStreamsEndWithTheServer(t *testing.T) {
	p := serveInProcess(t, here(t))
	client, s := p.overStream(t, &cutPath{socket: p.home.Socket()})
	p.stop()
	client.Wait()
	client.Close()
	<-s.Done()
}

// TestJunkIsNoStream checks that invalid data with the beginning of a stream does not become a
// stream and does no harm.
func TestJunkIsNoStream(t *testing.T) {
	p := serveInProcess(t, here(t))
	for _, junk := range []string{stream.Magic[:1], stream.Magic + "\x07", stream.Magic + "\x02" + strings.Repeat("x", 200)} {
		conn, err := unixsock.Dial(p.home.Socket())
		must(t, err)
		fmt.Fprint(conn, junk)
		conn.CloseWrite()
		io.Copy(io.Discard, conn)
		conn.Close()
	}
	p.client(t)
}

// TestLoginVouches checks that streams over which no user logs in displace only others of their
// kind, and never a stream over which a user has logged in.
func TestLoginVouches(t *testing.T) {
	p := serveInProcess(t, here(t))
	client, mine := p.overStream(t, &cutPath{socket: p.home.Socket()})
	defer client.Close()
	for range 8 * maxStrangers {
		s, err := stream.Dial(t.Context(), stream.Config{Dial: (&cutPath{socket: p.home.Socket()}).dial, HostKey: p.key.Public().(ed25519.PublicKey)})
		must(t, err)
		defer s.CloseWithError(io.EOF)
		_, err = io.ReadFull(s, make([]byte, 4)) // the server's version: it waits for a login
		must(t, err)
	}
	session, err := client.NewSession()
	must(t, err)
	must(t, session.Run("true"))
	if err := mine.Err(); err != nil {
		t.Error(err)
	}
}
