package mux

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/unixsock"
)

const strangerUID = 61239

// dialAs connects to a socket as another user: the kernel reports the user of the thread.
func dialAs(t *testing.T, uid uintptr, path string) *net.UnixConn {
	t.Helper()
	var conn *net.UnixConn
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		const unchanged = ^uintptr(0)
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, unchanged, uid, unchanged); errno != 0 {
			err = errno
			return
		}
		conn, err = unixsock.Dial(path)
	}()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestOtherUsersAreNotServed checks that the mux refuses another user who can connect to its
// sockets. Sessions are for the user of the agent.
func TestOtherUsersAreNotServed(t *testing.T) {
	if os.Getuid() != 0 {
		return // only root can act as another user
	}
	dir, asked, _ := serving(t, time.Hour)
	door := filepath.Join(dir, doorName)
	for _, path := range []string{door, dir, filepath.Dir(dir)} { // the test owns both directories
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	conn := dialAs(t, strangerUID, door)
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(conn, "train this build\n")
	if said, _ := io.ReadAll(conn); len(said) > 0 {
		t.Errorf("the mux says %q to another user", said)
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("another user had %d workspaces held ready", n)
	}

	path := filepath.Join(dir, "train")
	l, err := unixsock.Listen(path, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	stranger := dialAs(t, strangerUID, path)
	served, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	c := &control{conn: served, w: &workspace{name: "train"}}
	if err := c.serve(); err == nil || !strings.Contains(err.Error(), "is another") {
		t.Errorf("another user's ssh: %v", err)
	}
	_ = stranger.SetDeadline(time.Now().Add(time.Minute))
	if said, _ := io.ReadAll(stranger); len(said) > 0 {
		t.Errorf("another user's ssh is greeted with %q", said)
	}
}
