//go:build linux

package pty

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func open(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, slave, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); slave.Close() })
	return master, slave
}

func TestTheEndsAreOfOneTerminal(t *testing.T) {
	master, slave := open(t)
	again, err := peerOf(t, master)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for _, s := range []*os.File{slave, again} {
		if _, err := io.WriteString(s, "x"); err != nil {
			t.Fatal(err)
		}
		if err := master.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatalf("the master blocks: %v", err)
		}
		if got := make([]byte, 1); !read(t, master, got) || got[0] != 'x' {
			t.Errorf("%s: %q came", s.Name(), got)
		}
		named, err := os.Stat(s.Name())
		if err != nil {
			t.Fatal(err)
		}
		if is, err := s.Stat(); err != nil || !os.SameFile(named, is) {
			t.Errorf("%s is another terminal's path (%v)", s.Name(), err)
		}
		if flags, err := unix.FcntlInt(s.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
			t.Errorf("the flags of a slave: %#x, %v", flags, err)
		}
		if flags, err := unix.FcntlInt(s.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("a slave would pass to other programs: %#x, %v", flags, err)
		}
	}
}

// peerOf opens the slave without making the master block, as Fd would.
func peerOf(t *testing.T, master *os.File) (slave *os.File, err error) {
	t.Helper()
	raw, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if controlErr := raw.Control(func(fd uintptr) { slave, err = Peer(int(fd)) }); controlErr != nil {
		t.Fatal(controlErr)
	}
	return slave, err
}

func read(t *testing.T, f *os.File, b []byte) bool {
	t.Helper()
	_, err := io.ReadFull(f, b)
	if err != nil {
		t.Error(err)
	}
	return err == nil
}

func TestCloseEndsARead(t *testing.T) {
	master, _ := open(t)
	ended := make(chan error)
	go func() {
		_, err := master.Read(make([]byte, 1))
		ended <- err
	}()
	master.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("the read ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the read goes on")
	}
}

func TestPeerOfWhatIsNoTerminal(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if slave, err := Peer(int(null.Fd())); err == nil {
		slave.Close()
		t.Error("a device has a slave")
	}
}
