package agent

import (
	"time"

	"golang.org/x/sys/unix"
)

// uptime counts the time that the machine sleeps: a key for twelve hours is not
// one for twelve hours of an open lid.
func uptime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return time.Duration(time.Now().UnixNano())
	}
	return time.Duration(t.Nano())
}
