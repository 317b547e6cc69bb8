//go:build linux

package mux

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The memory that the mux may hold in KiB, with all that the kernel counts for it (VmRSS): idle,
// and with so many sessions that do nothing.
const (
	idleMemory     = 10 << 10
	sessions       = 100
	sessionsMemory = 16 << 10
)

// holdsLittle checks that the mux uses little memory, whatever it was used for before.
func (w *world) holdsLittle(t *testing.T) {
	t.Helper()
	t.Logf("idle: %d KiB", w.memory(t, idleMemory))
	all := make([]*session, sessions)
	for i := range all {
		all[i] = w.open(t, "echo up; exec cat")
		all[i].expect(t, "up")
	}
	t.Logf("with %d sessions: %d KiB", sessions, w.memory(t, sessionsMemory))
	for i, open := range all {
		open.in.Close()
		if err := open.wait(); err != nil {
			t.Errorf("session %d: %v", i, err)
		}
	}
	t.Logf("idle again: %d KiB", w.memory(t, idleMemory))
}

// memory waits until the mux holds no more than most, and returns the amount, both in KiB.
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
