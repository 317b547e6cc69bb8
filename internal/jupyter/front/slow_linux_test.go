package front

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"keyway/test/await"
)

// hang makes the journal of a kernel that cannot be read: a file whose opening waits. The function
// that it returns lets it be read; it may be called twice.
func hang(t *testing.T, dir, id string) (answer func()) {
	t.Helper()
	pipe := filepath.Join(dir, id, "00000000.000000")
	err := os.Mkdir(filepath.Join(dir, id), 0o700)
	if err == nil {
		err = syscall.Mkfifo(pipe, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	answer = func() {
		if w, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
			_ = w.Close()
		}
	}
	t.Cleanup(answer) // before the front's
	return answer
}

// TestSlowJournals checks that journals whose disk does not answer keep nothing else back, however
// many there are: neither the connection to another kernel, nor the file of one that has ended, nor
// pages, nor the end of the program. The kernels of half of the journals have ended.
func TestSlowJournals(t *testing.T) {
	f := newFake(t)
	first, dir, _ := inMidCell(t, f)
	first.Close()
	const ended = "f0000000-89ab-cdef-0123-456789abcdef" // after those that hang
	if err := os.CopyFS(filepath.Join(dir, ended), os.DirFS(filepath.Join(dir, theKernel))); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, theKernel)); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.modified = time.Now().Add(-time.Hour).UTC().Format(time.RFC3339Nano)
	f.mu.Unlock()
	front, at := f.before(dir)
	front.openTime = 50 * time.Millisecond
	const hung = 2 * maxOpening
	var theirs []string
	for n := range hung {
		id := fmt.Sprintf("%08d", n) + theKernel[8:]
		hang(t, dir, id)
		if err := os.WriteFile(front.noted(id), []byte("other.ipynb"), 0o600); err != nil {
			t.Fatal(err)
		}
		if n < hung/2 {
			theirs = append(theirs, id)
		}
	}
	err := front.connectAll(append(theirs, theKernel))
	for _, id := range theirs {
		if !strings.Contains(fmt.Sprint(err), id+": "+errSlow.Error()) {
			t.Errorf("the journal of %s is not slow: %v", id, err)
		}
	}
	await.That(t, "a connection to the kernel whose journal can be read", func() bool { return front.find(theKernel) != nil })
	front.sweep(append(theirs, theKernel))
	await.That(t, "the output of the kernel that has ended, in the file", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return outputs(f.doc) == stopped
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := front.kernel(ctx, theirs[0]); err != errSlow {
		t.Errorf("a page of a slow kernel: %v", err)
	}
	if code, body := get(t, at, "keyway/kernels"); code != http.StatusOK || !strings.Contains(string(body), theKernel) {
		t.Errorf("%d %s", code, body)
	}
	over := make(chan struct{})
	go func() { front.Close(); close(over) }()
	select {
	case <-over:
	case <-time.After(await.Patience):
		t.Error("the program does not end")
	}
}

// TestASlowJournalIsRead checks that a journal that has been slow is read once, by all that need it,
// and its kernel connected.
func TestASlowJournalIsRead(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	answer := hang(t, dir, theKernel)
	front, _ := f.before(dir)
	front.openTime = 10 * time.Millisecond
	if err := front.connectAll([]string{theKernel}); err == nil || front.find(theKernel) != nil {
		t.Fatalf("a journal that hangs is read: %v", err)
	}
	front.mu.Lock()
	first := front.opening[theKernel]
	front.mu.Unlock()
	opened := make(chan error, 1)
	go func() { _, err := front.kernel(t.Context(), theKernel); opened <- err }()
	await.That(t, "the end of the reading", func() bool {
		answer()
		select {
		case <-first.done:
			return true
		default:
			return false
		}
	})
	if err := <-opened; err != first.err {
		t.Errorf("it was read twice: %v, %v", err, first.err)
	}
}
