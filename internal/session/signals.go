//go:build linux

package session

import (
	"cmp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The real-time signals, as programs of glibc count them.
const (
	firstRealTime = 34
	lastRealTime  = 64
)

// SignalName is unix.SignalName, also for a real-time signal (SIGRTMIN+3).
func SignalName(s unix.Signal) string {
	if s >= firstRealTime && s <= lastRealTime {
		return "SIGRTMIN+" + strconv.Itoa(int(s-firstRealTime))
	}
	return unix.SignalName(s)
}

// SignalNum is unix.SignalNum, also for SIGRTMIN+3 and SIGRTMAX-3.
func SignalNum(name string) unix.Signal {
	offset, real := strings.CutPrefix(name, "SIGRTMIN")
	from := firstRealTime
	if !real {
		offset, real = strings.CutPrefix(name, "SIGRTMAX")
		from = lastRealTime
	}
	if !real {
		return unix.SignalNum(name)
	}
	n, err := strconv.Atoi(cmp.Or(offset, "0"))
	if n += from; err != nil || n < firstRealTime || n > lastRealTime {
		return 0
	}
	return unix.Signal(n)
}
