package main

import (
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// timerSlack is the time by which the operating system may be late to wake the child at a set time. While
// a thread of the child runs, a thread of Go's runtime looks every 20 µs whether it waits for the system,
// and then replaces it. With the usual slack of 50 µs, that takes as much time as the work: a line of a
// cell's output takes 62 µs of a processor, and 36 µs with a slack of 1 ms.
const timerSlack = 4 * time.Millisecond

// startSlack starts a process with timerSlack. It inherits that from the thread that starts it, and cannot
// set it itself for threads that it has.
func startSlack(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0); err == nil {
		defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) }() // the default again
	}
	return cmd.Start()
}
