package agent

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// TrimProcess gives back the pages of program code that starting touched and that
// an agent does not run again; what is wanted after all is mapped in anew. Code
// is never written to, so nothing is lost (madvise(2), MADV_DONTNEED). It has to
// come before HardenProcess, after which the map can no longer be read.
func TrimProcess() {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) {
		fields := strings.Fields(line) // address, mode, offset, device, inode, file
		if len(fields) < 6 || fields[1] != "r-xp" || fields[4] == "0" {
			continue
		}
		first, last, _ := strings.Cut(fields[0], "-")
		from, err1 := strconv.ParseUint(first, 16, 64)
		to, err2 := strconv.ParseUint(last, 16, 64)
		if err1 == nil && err2 == nil {
			unix.Syscall(unix.SYS_MADVISE, uintptr(from), uintptr(to-from), unix.MADV_DONTNEED)
		}
	}
}
