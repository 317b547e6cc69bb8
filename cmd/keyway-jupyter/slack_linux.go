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

// timeSlice is the time for which a thread of the child may run before others that wait. A short one lets
// the child run sooner when it wakes up on a busy machine: of 100 waits of 3 ms, beside 10 busy processes
// on two processors, the latest ended 2 to 5 ms late, and 6 ms with the usual slice.
const timeSlice = 100 * time.Microsecond

// startSlack starts a process with timerSlack and timeSlice. It inherits them from the thread that starts
// it, and cannot set them itself for threads that it has.
func startSlack(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0); err == nil {
		defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) }() // the default again
	}
	if attr, err := unix.SchedGetAttr(0, 0); err == nil && attr.Policy == unix.SCHED_NORMAL {
		usual := *attr
		attr.Runtime = uint64(timeSlice)
		if unix.SchedSetAttr(0, attr, 0) == nil { // without effect before Linux 6.12
			defer func() { _ = unix.SchedSetAttr(0, &usual, 0) }()
		}
	}
	return cmd.Start()
}
