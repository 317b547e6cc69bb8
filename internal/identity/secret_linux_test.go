package identity

import (
	"bytes"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestForgottenBytesAreOverwritten checks that a secret is overwritten before its memory is
// released: neither the kernel's next use of the page nor another mapping of it shows any byte.
func TestForgottenBytesAreOverwritten(t *testing.T) {
	fd, err := unix.MemfdCreate("secret", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "secret")
	defer file.Close()
	page := os.Getpagesize()
	if err := file.Truncate(int64(page)); err != nil {
		t.Fatal(err)
	}
	memory, err := unix.Mmap(fd, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	private := []byte("private")
	s := &secret{memory: memory, size: copy(memory, private)}
	left := make([]byte, page)
	if _, err := file.ReadAt(left, 0); err != nil || !bytes.HasPrefix(left, private) {
		t.Fatalf("the file is not the memory: %v", err)
	}
	s.destroy()
	if _, err := file.ReadAt(left, 0); err != nil || len(bytes.Trim(left, "\x00")) > 0 {
		t.Errorf("%q is left, %v", bytes.Trim(left, "\x00"), err)
	}
}
