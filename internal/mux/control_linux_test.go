package mux

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/mux/call"
	"keyway/internal/sshwire"
	"keyway/internal/unixsock"
)

// connected returns a listening socket and the two ends of a connection to it.
func connected(t *testing.T, path string) (l *net.UnixListener, client, served *net.UnixConn) {
	t.Helper()
	l, err := unixsock.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if client, err = unixsock.Dial(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if served, err = l.AcceptUnix(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { served.Close() })
	return l, client, served
}

// TestALateRefusalTakesTheDescriptors checks that a session that the agent denies late is refused
// after its descriptors were received. An ssh that cannot send them ends with an error, and does
// not connect by itself.
func TestALateRefusalTakesTheDescriptors(t *testing.T) {
	for kind, descriptors := range map[uint32]int{askSession: 3, askStdio: 2} {
		_, client, served := connected(t, filepath.Join(t.TempDir(), "s"))
		for range descriptors {
			if _, _, err := client.WriteMsgUnix([]byte{0}, unix.UnixRights(0), nil); err != nil {
				t.Fatal(err)
			}
		}
		_ = client.CloseWrite()
		noAgent := &permit{socket: filepath.Join(t.TempDir(), "none")}
		c := &control{conn: served, w: &workspace{server: &Server{}, guest: &guest{permit: noAgent}}}
		if err := c.answer(request{kind: kind, id: 7}); err != nil {
			t.Fatal(err)
		}
		if unread, err := io.ReadAll(served); len(unread) > 0 || err != nil {
			t.Errorf("%#x: %d descriptors were not taken (%v)", kind, len(unread), err)
		}
		_ = client.SetDeadline(time.Now().Add(time.Minute))
		if body, err := readMessage(client); err != nil || sshwire.NewReader(body).Uint32() != sayDenied {
			t.Errorf("%#x: it is answered %q (%v)", kind, body, err)
		}
	}
}

// TestNoForwardIntoAnotherWorkspace checks that the mux denies a forward, also to ssh -O, if the
// name now belongs to another workspace, although the agent has just allowed the client a session.
func TestNoForwardIntoAnotherWorkspace(t *testing.T) {
	const reason = "another workspace"
	for _, controls := range []bool{false, true} {
		dir := t.TempDir()
		l, client, served := connected(t, filepath.Join(dir, "train"))
		server := &Server{cfg: Config{Dir: dir, Suits: func(context.Context, keyway.Name, string, ssh.PublicKey) error { return errors.New(reason) }}}
		w := &workspace{name: "train", server: server, listener: l, guest: &guest{permit: &permit{socket: filepath.Join(dir, "none")}}}
		c := &control{conn: served, w: w, asked: time.Now(), in: call.Call{Control: controls}}
		if err := c.answer(request{kind: askOpen, id: 7}); err != nil {
			t.Fatal(err)
		}
		_ = client.SetDeadline(time.Now().Add(time.Minute))
		body, err := readMessage(client)
		r := sshwire.NewReader(body)
		if kind, id, why := r.Uint32(), r.Uint32(), r.Text(); err != nil || kind != sayDenied || id != 7 || why != reason {
			t.Errorf("-O %t: it is answered %q (%v)", controls, body, err)
		}
		if _, err := unixsock.Dial(filepath.Join(dir, "train")); err == nil {
			t.Errorf("-O %t: a later ssh still comes to it", controls)
		}
	}
}

// TestTimeEndsWhatWasAllowed checks that the mux asks the agent again after a while, even if the
// clock was set back. (A test cannot stop the monotonic clock: see TestASleepPasses.)
func TestTimeEndsWhatWasAllowed(t *testing.T) {
	noAgent := &permit{socket: filepath.Join(t.TempDir(), "none")}
	for later, again := range map[time.Duration]bool{0: false, time.Hour: true, -time.Hour: true} {
		c := &control{w: &workspace{server: &Server{}, guest: &guest{permit: noAgent}}, asked: time.Now().Round(0).Add(-later)}
		if err := c.allow(); (err != nil) != again {
			t.Errorf("after %s: %v", later, err)
		}
	}
}

// TestASleepPasses checks that the time of a sleep counts, although the monotonic clock stands
// still.
func TestASleepPasses(t *testing.T) {
	for _, c := range []struct{ monotonic, wall, want time.Duration }{
		{time.Second, time.Second, time.Second},
		{0, time.Hour, time.Hour}, // it slept
		{time.Hour, 0, time.Hour}, // the clock was set back
		{time.Second, -time.Hour, time.Hour},
	} {
		if got := passed(c.monotonic, c.wall); got != c.want {
			t.Errorf("%s and %s are %s, want %s", c.monotonic, c.wall, got, c.want)
		}
	}
}
