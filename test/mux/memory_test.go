//go:build linux

package mux

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// What the mux may hold in KiB, with all that the kernel counts for it (VmRSS): idle, and
// with so many sessions that do nothing.
const (
	idleMemory     = 10 << 10
	sessions       = 100
	sessionsMemory = 16 << 10
)

// holdsLittle has the mux hold little memory, whatever it was used for before.
func (w *world) holdsLittle(t *testing.T) {
	t.Helper()
	t.Logf("idle: %d KiB", w.memory(t, idleMemory))
	var open sync.WaitGroup
	release := make([]io.WriteCloser, sessions)
	for i := range release {
		cmd := w.command("ssh", train, "echo up; exec cat")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		release[i] = in
		timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		if up, err := bufio.NewReader(out).ReadString('\n'); up != "up\n" {
			t.Errorf("session %d: %q, %v", i, up, err)
		}
		open.Go(func() {
			defer timer.Stop()
			if err := cmd.Wait(); err != nil {
				t.Errorf("session %d: %v", i, err)
			}
		})
	}
	t.Logf("with %d sessions: %d KiB", sessions, w.memory(t, sessionsMemory))
	for _, in := range release {
		in.Close()
	}
	open.Wait()
	t.Logf("idle again: %d KiB", w.memory(t, idleMemory))
}

// memory waits until the mux holds no more than that, and is what it holds then.
func (w *world) memory(t *testing.T, most int) (now int) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		status := w.must(t, "cat", "/proc/"+strings.Join(w.pids("[m]ux serve"), "")+"/status")
		_, rest, _ := strings.Cut(status, "VmRSS:")
		if _, err := fmt.Sscan(rest, &now); err != nil {
			t.Fatalf("%v: %s", err, status)
		}
		if now <= most {
			return now
		}
		if time.Now().After(end) {
			t.Fatalf("the mux holds %d KiB, not %d: %s", now, most, status)
		}
	}
}
