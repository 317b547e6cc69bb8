package stdio

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/pty"
)

// TestTheBackgroundTakesNothingTyped checks that typed input goes to the job in the foreground,
// whether the mux can open the terminal again or, as after su(1), reads from the descriptor that it
// received.
func TestTheBackgroundTakesNothingTyped(t *testing.T) {
	for _, again := range []bool{true, false} {
		t.Run(fmt.Sprintf("opened again: %t", again), func(t *testing.T) {
			master, slave, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer master.Close()
			defer slave.Close()
			foreground, background := jobs(t, slave)
			open := func(pid int) *End {
				fd, err := unix.Dup(int(slave.Fd()))
				if err != nil {
					t.Fatal(err)
				}
				e := New(fd, unix.O_RDONLY, pid)
				t.Cleanup(e.Close)
				if !again {
					e.file.Close()
					e.file = nil
				}
				return e
			}
			shell, behind := open(foreground), open(background)
			stolen := make(chan string, 1)
			go func() {
				b := make([]byte, 100)
				n, _ := behind.Read(b)
				stolen <- string(b[:n])
			}()
			got := make(chan string)
			for i := range 20 {
				line := fmt.Sprintf("line %d\n", i)
				go func() {
					b := make([]byte, 100)
					n, _ := shell.Read(b)
					got <- string(b[:n])
				}()
				if _, err := master.WriteString(line); err != nil {
					t.Fatal(err)
				}
				select {
				case text := <-got:
					if text != line {
						t.Errorf("%q was typed, and %q read", line, text)
					}
				case text := <-stolen:
					t.Fatalf("%q was read in the background", text)
				case <-time.After(time.Minute):
					t.Fatalf("%q was not read", line)
				}
			}
			behind.Stop()
			if text := <-stolen; text != "" {
				t.Errorf("%q was read in the background", text)
			}
		})
	}
}

// jobs returns a process in the foreground of a terminal, and one in the background.
func jobs(t *testing.T, slave *os.File) (foreground, background int) {
	t.Helper()
	cmd := exec.Command("bash", "-mc", "sleep 1000 & echo $!; read never </proc/self/fd/3")
	cmd.Stdin, cmd.Stderr = slave, slave // which switches on job control in bash
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	hold, held, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	cmd.ExtraFiles = []*os.File{hold}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Kill(background, unix.SIGKILL)
		held.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(strings.TrimSpace(line), &background); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid, background
}
