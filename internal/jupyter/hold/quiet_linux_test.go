package hold_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/jupyter/hold"
)

// quiet returns a quiet connection and its other end.
func quiet(t *testing.T) (conn *hold.Conn, other net.Conn) {
	t.Helper()
	client, other := connected(t)
	conn, err := hold.Quiet(client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // some tests have closed it
	return conn, other
}

// TestQuiet checks that everything that is sent arrives, in both directions at once, although neither the
// connection nor its other end has room for it.
func TestQuiet(t *testing.T) {
	conn, other := quiet(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
	errs := make(chan error, 4)
	for _, c := range []net.Conn{conn, other} {
		go func() { _, err := c.Write(data); errs <- err }()
		go func() {
			got := make([]byte, len(data))
			_, err := io.ReadFull(c, got)
			if err == nil && !bytes.Equal(got, data) {
				err = errors.New("other bytes arrive")
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after the other end has gone: %v", err)
	}
}

// TestQuietIsInterrupted checks that a deadline and Close end a read that waits, or that begins then.
func TestQuietIsInterrupted(t *testing.T) {
	for name, test := range map[string]struct {
		interrupt func(*hold.Conn) error
		want      error
	}{
		"a deadline": {func(c *hold.Conn) error { return c.SetDeadline(time.Now().Add(10 * time.Millisecond)) }, os.ErrDeadlineExceeded},
		"Close":      {(*hold.Conn).Close, net.ErrClosed},
	} {
		conn, _ := quiet(t)
		read := make(chan error, 1)
		go func() { _, err := conn.Read(make([]byte, 1)); read <- err }()
		if err := test.interrupt(conn); err != nil {
			t.Fatal(err)
		}
		if err := <-read; !errors.Is(err, test.want) {
			t.Errorf("%s: the read ends with %v", name, err)
		}
	}
}

// TestQuietIsClosedWhileItIsRead checks that Close and a Read that begins meanwhile do not wait for each
// other.
func TestQuietIsClosedWhileItIsRead(t *testing.T) {
	comes := func() { // lets a goroutine come to where it waits for the lock
		for range 1000 {
			runtime.Gosched()
		}
	}
	for range 20 {
		conn, _ := quiet(t)
		raw, err := conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		held, free, ended := make(chan struct{}), make(chan struct{}), make(chan error, 3)
		go func() { ended <- raw.Control(func(uintptr) { close(held); <-free }) }()
		<-held
		go func() { ended <- conn.Close() }()
		comes()
		go func() {
			_, err := conn.Read(make([]byte, 1))
			if errors.Is(err, net.ErrClosed) {
				err = nil
			}
			ended <- err
		}()
		comes()
		close(free)
		for range cap(ended) {
			select {
			case err := <-ended:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(time.Minute):
				t.Fatal("Close and Read wait for each other")
			}
		}
	}
}

// TestQuietIsWatchedForArrivals checks that no poller of this process waits for room on the connection.
func TestQuietIsWatchedForArrivals(t *testing.T) {
	conn, _ := quiet(t)
	var st unix.Stat_t
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if ctlErr := raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &st) }); ctlErr != nil || err != nil {
		t.Fatal(ctlErr, err)
	}
	n := 0
	files, _ := filepath.Glob("/proc/self/fdinfo/*") // the pattern is well formed
	for _, file := range files {
		data, _ := os.ReadFile(file) // a file that is closed meanwhile
		for line := range strings.Lines(string(data)) {
			var fd int
			var events uint32
			if _, err := fmt.Sscanf(line, "tfd: %d events: %x", &fd, &events); err != nil || !strings.Contains(line, fmt.Sprintf(" ino:%x ", st.Ino)) {
				continue
			}
			if n++; events&unix.EPOLLOUT != 0 {
				t.Errorf("it is watched for room: %s", line)
			}
		}
	}
	if n != 1 {
		t.Errorf("it is watched %d times", n)
	}
}
