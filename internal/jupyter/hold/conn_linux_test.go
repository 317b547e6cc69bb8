package hold_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/jupyter/hold"
)

// watched returns how many copies of a connection's descriptor the poller of this process watches.
func watched(t *testing.T, c syscall.Conn) (n int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if ctlErr := raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &st) }); ctlErr != nil || err != nil {
		t.Fatal(ctlErr, err)
	}
	files, _ := filepath.Glob("/proc/self/fdinfo/*") // the pattern is well formed
	for _, file := range files {
		data, _ := os.ReadFile(file) // a file that is closed meanwhile
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, "tfd:") && strings.Contains(line, fmt.Sprintf(" ino:%x ", st.Ino)) {
				n++
			}
		}
	}
	return n
}

// connected returns the two ends of a connection. The test closes the first.
func connected(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("unix", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return client, server
}

// TestNobodyIsWoken checks that messages of a connection that is held wake neither process: its
// poller watches the connection only while the program waits for a message.
func TestNobodyIsWoken(t *testing.T) {
	client, server := connected(t)
	if n := watched(t, client.(syscall.Conn)); n != 1 {
		t.Fatalf("before it is held, a connection is watched %d times", n)
	}
	var keeper hold.Keeper
	defer keeper.Close()
	lines := start(t, &keeper, t.TempDir())
	line, err := lines.Hold("kernel", "", client)
	if err != nil {
		t.Fatal(err)
	}
	if err := line.Send([]byte("x"), ""); err != nil { // the keeper has the connection when it has sent it
		t.Fatal(err)
	}
	if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if n := watched(t, line); n != 0 {
		t.Errorf("a connection that is held is watched %d times", n)
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		if b, err := io.ReadAll(line); string(b) != "ab" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	})
	for _, letter := range []string{"a", "b"} {
		for late := time.Now().Add(patience); watched(t, line) != 1; time.Sleep(time.Millisecond) {
			if time.Now().After(late) {
				t.Fatal("nothing waits for a message")
			}
		}
		if _, err := io.WriteString(server, letter); err != nil {
			t.Fatal(err)
		}
		waitEmpty(t, line)
	}
	_ = server.Close()
	reader.Wait()
	if n := watched(t, line); n != 0 {
		t.Errorf("a connection that nobody waits for is watched %d times", n)
	}
	_ = line.Close()
	lines.Abandon()
	keeper.Ended()
}

// TestDeadlines checks that a deadline ends reads and writes that wait, also if it is set before,
// and that Close ends them.
func TestDeadlines(t *testing.T) {
	for name, end := range map[string]func(c *hold.Line){
		"a deadline": func(c *hold.Line) { _ = c.SetDeadline(time.Now()) },
		"the end":    func(c *hold.Line) { _ = c.Close() },
	} {
		for _, before := range []bool{false, true} {
			client, _ := connected(t)
			var keeper hold.Keeper
			lines := start(t, &keeper, t.TempDir())
			line, err := lines.Hold("kernel", "", client)
			if err != nil {
				t.Fatal(err)
			}
			if before {
				end(line)
			}
			var user sync.WaitGroup
			user.Go(func() {
				if n, err := line.Read(make([]byte, 1)); n != 0 || err == nil {
					t.Errorf("%s: read %d bytes, %v", name, n, err)
				}
				if n, err := line.Write(make([]byte, 10<<20)); n == 10<<20 || err == nil {
					t.Errorf("%s: wrote %d bytes, %v", name, n, err)
				}
			})
			for late := time.Now().Add(patience); !before && watched(t, line) == 0; time.Sleep(time.Millisecond) {
				if time.Now().After(late) {
					t.Fatal("nothing waits for a message")
				}
			}
			if !before {
				end(line)
			}
			user.Wait()
			_ = line.Close()
			lines.Abandon()
			keeper.Ended()
			keeper.Close()
		}
	}
}
