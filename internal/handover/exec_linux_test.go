package handover

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	envGiver = "KEYWAY_TEST_GIVER" // makes the test binary hand over
	envTaker = "KEYWAY_TEST_TAKER" // and is the variable of the handover
)

func TestMain(m *testing.M) {
	if os.Getenv(envTaker) != "" {
		fail(takeOver())
	}
	if os.Getenv(envGiver) != "" {
		fail(giveAway())
	}
	os.Exit(m.Run())
}

func fail(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// giveAway executes this program again, with a pipe that contains data.
func giveAway() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	if _, err := w.WriteString("from the pipe"); err != nil {
		return err
	}
	w.Close()
	b := Bundle{State: bytes.Repeat([]byte("secret"), 100_000)}
	if err := b.Add(r); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	return b.Exec(program, envTaker, []byte(strconv.Itoa(b.Descriptors[0])))
}

func takeOver() error {
	number := os.Getenv(envTaker)
	hardened := false
	note, state, found, err := Inherit(envTaker, func() error { hardened = true; return nil })
	if err != nil || !found || !hardened {
		return fmt.Errorf("found: %v, hardened: %v, %w", found, hardened, err)
	}
	fd, err := strconv.Atoi(string(note))
	if err != nil {
		return err
	}
	text := make([]byte, 100)
	n, err := unix.Read(fd, text)
	if err != nil {
		return err
	}
	if waiting, err := strconv.Atoi(number); err != nil || unix.FcntlFlock(uintptr(waiting), unix.F_GETLK, &unix.Flock_t{}) == nil {
		return errors.New("the socket is still open")
	}
	if os.Getenv(envTaker) != "" {
		return errors.New("programs that this one starts find the variable")
	}
	fmt.Printf("%d bytes of %.6s; %s", len(state), state, text[:n])
	return nil
}

func TestExecAndInherit(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envGiver+"=1")
	out, err := cmd.CombinedOutput()
	if want := "600000 bytes of secret; from the pipe"; err != nil || string(out) != want {
		t.Errorf("%v: %s, want %s", err, out, want)
	}
}

// TestInheritRefuses checks that a process that cannot be hardened, or that another process traces,
// does not take over.
func TestInheritRefuses(t *testing.T) {
	if _, _, found, err := Inherit("KEYWAY_TEST_NONE", nil); found || err != nil {
		t.Errorf("found: %v, %v", found, err)
	}
	t.Setenv("KEYWAY_TEST_NONE", "999")
	open := errors.New("open to others")
	if _, _, _, err := Inherit("KEYWAY_TEST_NONE", func() error { return open }); !errors.Is(err, open) {
		t.Errorf("%v", err)
	}
	if said := traceTaker(t); !strings.Contains(said, "another program traces this one") {
		t.Errorf("it said: %s", said)
	}
}

// traceTaker traces a process that takes over, and returns its output.
func traceTaker(t *testing.T) string {
	t.Helper()
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envTaker+"=999")
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for {
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(cmd.Process.Pid, &status, 0, nil); err != nil {
			t.Fatal(err)
		}
		if !status.Stopped() {
			break
		}
		signal := status.StopSignal()
		if signal == syscall.SIGTRAP {
			signal = 0
		}
		if err := syscall.PtraceCont(cmd.Process.Pid, int(signal)); err != nil {
			t.Fatal(err)
		}
	}
	said, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(said)
}

func TestStateIsSealed(t *testing.T) {
	f, err := sealed([]byte("state"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("it can be changed")
	}
}
