package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"keyway/internal/filelock"
	"keyway/internal/keyway"
)

// TestHaltSparesOthers checks a held lock that does not name a guest, but a container's first
// process, groups of processes, or nothing at all.
func TestHaltSparesOthers(t *testing.T) {
	home := keyway.Home(t.TempDir())
	path := filepath.Join(string(home), "init.lock")
	if code := haltMain(home, nil); code != 0 {
		t.Errorf("no workspace: %d", code)
	}
	held, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := filelock.Try(held, filelock.Exclusive); err != nil {
		t.Fatal(err)
	}
	other := exec.Command("sleep", "1000")
	other.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() { gone <- other.Wait() }()
	defer func() { _ = syscall.Kill(other.Process.Pid, syscall.SIGKILL) }()
	// Not 1, which would be killed if this failed. The engines' suite tests process 1 in a
	// container.
	for _, text := range []string{"-" + strconv.Itoa(other.Process.Pid), "0\n", "", "nonsense", "99999999999999999999"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		code := make(chan int, 1)
		go func() { code <- haltMain(home, nil) }()
		select {
		case code := <-code:
			if code == 0 {
				t.Errorf("%q: a process was told to end, and had ended", text)
			}
		case <-gone:
			t.Fatalf("%q: another process was told to end", text)
		}
	}
}

// TestHaltEndsAndWaits checks that halt ends the process that holds the guest's lock, and returns
// after its end.
func TestHaltEndsAndWaits(t *testing.T) {
	home := keyway.Home(t.TempDir())
	path := filepath.Join(string(home), "init.lock")
	held, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := filelock.Try(held, filelock.Exclusive); err != nil {
		t.Fatal(err)
	}
	holds := exec.Command("sleep", "1000")
	holds.ExtraFiles = []*os.File{held} // and so holds the lock
	if err := holds.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := held.WriteString(strconv.Itoa(holds.Process.Pid) + "\n"); err != nil {
		t.Fatal(err)
	}
	held.Close()
	ended := make(chan error, 1)
	go func() { ended <- holds.Wait() }()
	if code := haltMain(home, nil); code != 0 {
		t.Fatal(code)
	}
	if err := <-ended; err == nil {
		t.Error("it ended by itself")
	}
	if code := haltMain(home, nil); code != 0 {
		t.Errorf("what has ended: %d", code)
	}
}
