//go:build linux

package lab

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Process is a process of a host.
type Process struct {
	PID  int    // as this machine counts
	Name string // the kernel's, at most 15 bytes
}

// CPUTimes returns the CPU time of each of the host's processes so far, in user space and in the
// kernel, with those in its containers.
func (h *Host) CPUTimes() map[Process]time.Duration {
	times := map[Process]time.Duration{}
	for _, pid := range h.processes(func(string) bool { return true }) {
		if name, used, ok := cpuTime(pid); ok {
			times[Process{pid, name}] = used
		}
	}
	return times
}

// tick is the unit of /proc's times, which is the same on every Linux that Go
// runs on (USER_HZ).
const tick = 10 * time.Millisecond

func cpuTime(pid int) (name string, used time.Duration, ok bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	first, last := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if err != nil || first < 0 || last < first {
		return "", 0, false
	}
	// After the name: state is the first field, utime the 12th, stime the 13th.
	fields := strings.Fields(string(data[last+1:]))
	if len(fields) < 13 {
		return "", 0, false
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return string(data[first+1 : last]), time.Duration(user+system) * tick, err1 == nil && err2 == nil
}
