package mux

import (
	"io"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/sshwire"
	"keyway/internal/unixsock"
)

// TestALateRefusalTakesTheDescriptors checks that a session that the agent denies late is refused
// after its descriptors were received. An ssh that cannot send them ends with an error, and does
// not connect by itself.
func TestALateRefusalTakesTheDescriptors(t *testing.T) {
	for kind, descriptors := range map[uint32]int{askSession: 3, askStdio: 2} {
		l, err := unixsock.Listen(filepath.Join(t.TempDir(), "s"), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		client, err := unixsock.Dial(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		served, err := l.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		defer served.Close()
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

// TestASleepPasses checks that time in which the machine sleeps counts, although the monotonic
// clock stands still.
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
