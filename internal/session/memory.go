//go:build linux

package session

import (
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxMaps bounds what is read of the kernel's list of our own mappings.
const maxMaps = 1 << 20

// ReleaseMemory gives back what an idle process does not use: freed heap, and
// the pages of the program that the kernel mapped in passing (it maps 64 KiB
// around each page that is touched; at start that is most of the program). They
// stay in the page cache and come back one fault at a time.
func ReleaseMemory() {
	debug.FreeOSMemory()
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer f.Close()
	maps, err := io.ReadAll(io.LimitReader(f, maxMaps))
	if err != nil {
		return
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) {
		if from, size, ok := programMapping(line, exe); ok {
			// Read-only and backed by the file: what is dropped is read again.
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, size, unix.MADV_DONTNEED)
		}
	}
}

// programMapping reads a line of proc_pid_maps(5): where a mapping of exe lies
// that nobody can have written to.
func programMapping(line, exe string) (from, size uintptr, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 || !strings.HasSuffix(strings.TrimSpace(line), " "+exe) || strings.Contains(fields[1], "w") {
		return 0, 0, false
	}
	start, end, found := strings.Cut(fields[0], "-")
	if !found {
		return 0, 0, false
	}
	a, errA := strconv.ParseUint(start, 16, 64)
	b, errB := strconv.ParseUint(end, 16, 64)
	if errA != nil || errB != nil || b <= a {
		return 0, 0, false
	}
	return uintptr(a), uintptr(b - a), true
}
