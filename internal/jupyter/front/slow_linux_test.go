package front

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"keyway/test/await"
)

// TestOneSlowJournal checks that a journal whose disk does not answer keeps no other back.
func TestOneSlowJournal(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	const slow = "ffffffff-ffff-ffff-ffff-ffffffffffff"
	if err := os.Mkdir(filepath.Join(dir, slow), 0o700); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, slow, "00000000.000000") // open waits until something writes
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	front, _ := f.before(dir)
	connected := make(chan error, 1)
	go func() { connected <- front.connectAll([]string{slow, theKernel}) }()
	await.That(t, "a connection to the other kernel", func() bool { return front.find(theKernel) != nil })
	if front.find(slow) != nil {
		t.Error("a journal that cannot be read is read")
	}
	writer, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	if err := <-connected; err != nil {
		t.Logf("a pipe is no journal: %v", err)
	}
}
