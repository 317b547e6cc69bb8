//go:build unix

package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// transcript is the output of a program so far.
type transcript struct {
	mu   sync.Mutex
	said bytes.Buffer
	more chan struct{} // closed when more arrives
}

func newTranscript(r io.Reader) *transcript {
	t := &transcript{more: make(chan struct{})}
	go func() { // returns when r ends
		in := bufio.NewReader(r)
		for {
			c, err := in.ReadByte()
			if err != nil {
				return
			}
			t.mu.Lock()
			t.said.WriteByte(c)
			close(t.more)
			t.more = make(chan struct{})
			t.mu.Unlock()
		}
	}()
	return t
}

// await waits until the output has the text n times.
func (tr *transcript) await(t *testing.T, text string, n int) {
	t.Helper()
	late := time.After(patience)
	for {
		tr.mu.Lock()
		said, more := tr.said.String(), tr.more
		tr.mu.Unlock()
		if strings.Count(said, text) >= n {
			return
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("it never says %q:\n%s", text, said)
		}
	}
}

// signing asks the agent for a signature with the key.
func signing(t *testing.T, key string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("ssh-keygen", "-Y", "sign", "-f", key, "-n", "file")
	cmd.Stdin = strings.NewReader("data")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// confirmedKey adds a key that the agent confirms at each use. Its private half is not on disk, so
// ssh-keygen cannot sign without the agent.
func confirmedKey(t *testing.T, home, socket string) string {
	t.Helper()
	t.Setenv("SSH_AUTH_SOCK", socket)
	key := filepath.Join(home, "confirmed")
	for _, argv := range [][]string{{"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key}, {"ssh-add", "-q", "-c", key}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", argv, err, out)
		}
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	return key + ".pub"
}

// TestAsksAtItsTerminal checks that an agent in the foreground asks at its terminal.
func TestAsksAtItsTerminal(t *testing.T) {
	home := newLaptop(t)
	for _, v := range []string{"SSH_ASKPASS", "DISPLAY", "WAYLAND_DISPLAY", "GPG_TTY"} {
		t.Setenv(v, "")
	}
	socket := filepath.Join(runtimeDir(t), "s")
	cmd := exec.Command(os.Args[0], "agent", "-D", "-a", socket)
	cmd.Env = append(os.Environ(), envMain+"=1")
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait(); tty.Close() })
	screen := newTranscript(tty)
	screen.await(t, "Agent pid", 1)
	key := confirmedKey(t, home, socket)
	for i, c := range []struct {
		typed string
		yes   bool
	}{{"once\n", true}, {"n\n", false}, {"\n", false}} {
		asker := signing(t, key)
		screen.await(t, "[o once, n no]", i+1)
		io.WriteString(tty, c.typed)
		if err := asker.Wait(); (err == nil) != c.yes {
			t.Errorf("%q: %v", c.typed, err)
		}
	}
	asker := signing(t, key)
	screen.await(t, "[o once, n no]", 4)
	asker.Process.Kill()
	asker.Wait()
	screen.await(t, "no answer is needed any more", 1)
}

func TestApproveInAnotherWindow(t *testing.T) {
	home := newLaptop(t)
	endAgent(t)
	for _, v := range []string{"SSH_ASKPASS", "DISPLAY", "WAYLAND_DISPLAY", "GPG_TTY", "SSH_AUTH_SOCK"} {
		t.Setenv(v, "")
	}
	program(t, nil, "unlock") // no key yet, but an agent from then on
	key := confirmedKey(t, home, filepath.Join(runtimeDir(t), "agent.sock"))
	if err := exec.Command("ssh-keygen", "-Y", "sign", "-f", key, "-n", "file", os.Args[0]).Run(); err == nil {
		t.Error("signed where nobody could be asked")
	}
	window := exec.Command(os.Args[0], "approve")
	window.Env = append(os.Environ(), envMain+"=1")
	in, err := window.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := window.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := window.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { window.Process.Kill(); window.Wait() })
	shown := newTranscript(out)
	shown.await(t, "waiting", 1)
	asker := askUntilShown(t, key, shown)
	io.WriteString(in, "o\n")
	if err := asker.Wait(); err != nil {
		t.Errorf("what was allowed was not signed: %v", err)
	}
	asker = signing(t, key)
	shown.await(t, "[o once, n no]", 2)
	asker.Process.Kill()
	asker.Wait()
	shown.await(t, "the question has gone", 1)
	asker = signing(t, key)
	shown.await(t, "[o once, n no]", 3)
	io.WriteString(in, "n\n")
	if err := asker.Wait(); err == nil {
		t.Error("what was denied was signed")
	}
}

// askUntilShown repeats the request until the agent knows of a watcher.
func askUntilShown(t *testing.T, key string, shown *transcript) *exec.Cmd {
	t.Helper()
	for late := time.Now().Add(patience); time.Now().Before(late); {
		asker := signing(t, key)
		if refused := !shown.showsWhile(asker.Process.Pid, "[o once, n no]"); !refused {
			return asker
		}
		asker.Wait()
	}
	t.Fatal("it is never asked")
	return nil
}

// showsWhile reports whether the text comes before the process ends.
func (tr *transcript) showsWhile(pid int, text string) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		ended := hasEnded(pid)
		tr.mu.Lock()
		shown := strings.Contains(tr.said.String(), text)
		tr.mu.Unlock()
		if shown || ended {
			return shown
		}
		<-tick.C
	}
}

// hasEnded reports whether a child has ended, without taking its status.
func hasEnded(pid int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err != nil || strings.HasPrefix(string(out), "Z")
}
