package pipe

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPollablePipeEndsWhenClosed checks a process's standard input as ssh leaves it: a blocking
// pipe.
func TestPollablePipeEndsWhenClosed(t *testing.T) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	writer := os.NewFile(uintptr(fds[1]), "writer")
	defer writer.Close()
	f := Pollable(os.NewFile(uintptr(fds[0]), "reader"))
	Widen(Widest, f)
	if size, err := unix.FcntlInt(f.Fd(), unix.F_GETPIPE_SZ, 0); err != nil || size != Widest {
		t.Errorf("the pipe holds %d bytes (%v), want %d", size, err, Widest)
	}
	f = Pollable(f) // Fd has made it block
	read := make(chan error, 1)
	go func() {
		_, err := f.Read(make([]byte, 1))
		read <- err
	}()
	if err := f.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Errorf("no deadline on it, so no waiting without a thread: %v", err)
	}
	f.Close()
	if err := <-read; !errors.Is(err, os.ErrClosed) {
		t.Errorf("the read ended with %v", err)
	}
}

// TestPollableOfAFile checks that a file that is not a pipe is returned unchanged.
func TestPollableOfAFile(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if Pollable(f) != f {
		t.Error("a device was replaced")
	}
}
