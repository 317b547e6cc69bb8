package agent

import (
	"time"

	"golang.org/x/sys/unix"
)

// uptime counts the time that the machine sleeps: a key for twelve hours is not
// one for twelve hours of an open lid.
func uptime() time.Duration { return readClock(unix.CLOCK_BOOTTIME) }

// asleep returns the time that the machine has slept since its start (clock_gettime(2): only
// one of the two clocks counts it).
func asleep() time.Duration {
	awake := readClock(unix.CLOCK_MONOTONIC)
	return uptime() - awake
}

func readClock(id int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		return time.Duration(time.Now().UnixNano())
	}
	return time.Duration(t.Nano())
}
