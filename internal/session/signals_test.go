//go:build linux

package session

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestEachSignalHasAName checks that a job that ends by any signal is recorded with a name that is
// read back.
func TestEachSignalHasAName(t *testing.T) {
	for s := unix.Signal(1); s <= lastRealTime; s++ {
		name := SignalName(s)
		if s == 32 || s == 33 { // glibc keeps these for itself
			continue
		}
		if name == "" || SignalNum(name) != s {
			t.Errorf("%d is %q, which is %d", s, name, SignalNum(name))
		}
	}
	for name, want := range map[string]unix.Signal{
		"SIGRTMIN": 34, "SIGRTMIN+3": 37, "SIGRTMAX": 64, "SIGRTMAX-2": 62, "SIGTERM": unix.SIGTERM,
		"SIGRTMIN-1": 0, "SIGRTMAX+1": 0, "SIGRTMIN+31": 0, "SIGRTMIN+x": 0, "SIGRT": 0, "SIGNO": 0, "": 0, "SIGRTMIN+99999999999999999999": 0,
	} {
		if got := SignalNum(name); got != want {
			t.Errorf("%q is %d, want %d", name, got, want)
		}
	}
}
