//go:build linux

package view

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"keyway/internal/session/wire"
)

// TestAClosedWindowIsNoEndOfInput checks that the job does not take the end of a closed window for
// Ctrl-D.
func TestAClosedWindowIsNoEndOfInput(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	var sent bytes.Buffer
	f := forward{conn: &wire.Connection{Peer: wire.NewPeer(&sent)}, in: slave, input: new(input), escapes: new(escapes)}
	f.finish(io.EOF)
	if sent.Len() == 0 {
		t.Error("Ctrl-D on a terminal is not passed on")
	}
	sent.Reset()
	master.Close()
	if n, err := slave.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("a closed window reads as %d, %v", n, err)
	}
	f.finish(io.EOF)
	if sent.Len() > 0 {
		t.Errorf("a closed window sends %q", sent.Bytes())
	}
}

// TestInputIsCutOverAllConnections checks that input that was cut off stays marked as such, even if
// the holder is renewed afterwards.
func TestInputIsCutOverAllConnections(t *testing.T) {
	page := int64(os.Getpagesize())
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(page); err != nil {
		t.Fatal(err)
	}
	// Memory beyond the end of a mapped file cannot be read.
	mapped, err := unix.Mmap(int(f.Fd()), 0, int(2*page), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mapped)
	for readable, cut := range map[int64]bool{page: true, 0: false} {
		memory, err := os.Open("/proc/self/mem")
		if err != nil {
			t.Fatal(err)
		}
		defer memory.Close()
		if _, err := memory.Seek(int64(uintptr(unsafe.Pointer(&mapped[0])))+page-readable, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		term := &Terminal{In: memory}
		for range 2 {
			in, err := newInterruptible(memory)
			if err != nil {
				t.Fatal(err)
			}
			f := forward{conn: &wire.Connection{Peer: wire.NewPeer(new(bytes.Buffer))}, in: memory, input: &term.input, asking: new(question)}
			f.all(in)
			in.stop()
			in.release()
		}
		if term.input.cut != cut {
			t.Errorf("%d bytes, and then an error: cut is %t", readable, term.input.cut)
		}
	}
}
