//go:build linux

package view

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"keyway/internal/session"
	"keyway/internal/session/wire"
	"keyway/internal/unixsock"
)

func TestAViewerWhoseHolderDoesNotAnswerCanBeToldToGo(t *testing.T) {
	dir := t.TempDir()
	l, err := unixsock.Listen(filepath.Join(dir, session.SockName), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // releases the resources that reach keeps
	signals := newTold()
	signals.c <- unix.SIGTERM
	conn, told, err := reach(dir, wire.Hello{}, signals)
	if conn != nil || told != unix.SIGTERM || err != nil {
		t.Errorf("got %v, %v, %v, want SIGTERM", conn, told, err)
	}
}

func TestInterruptible(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	in, err := newInterruptible(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "x"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	if n, err := in.Read(buf); n != 1 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	done := make(chan error)
	go func() { _, err := in.Read(buf); done <- err }()
	in.stop()
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("a read that is stopped: %v", err)
	}
	in.release()
}
