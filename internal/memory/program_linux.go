package memory

import (
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// releaseProgram releases the pages of the program's file. The kernel maps a page again when it is
// used (madvise(2), MADV_DONTNEED).
func releaseProgram() {
	for _, r := range fileRanges() {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, r.from, r.to-r.from, unix.MADV_DONTNEED)
	}
}

type addressRange struct{ from, to uintptr }

// fileRanges returns the addresses of mapped files that are not writable and never were, so that no
// data is lost with the pages: code and constants. A loader may have written to constants before it
// made them read-only; such pages are no longer the file's.
func fileRanges() []addressRange {
	look.Do(func() {
		maps, _ := os.ReadFile("/proc/self/smaps")
		found = unwritten(string(maps))
	})
	return found
}

var (
	look  sync.Once
	found []addressRange
)

// unwritten reads proc_pid_smaps(5).
func unwritten(smaps string) (list []addressRange) {
	var r addressRange
	for line := ""; smaps != ""; {
		line, smaps, _ = strings.Cut(smaps, "\n")
		// address, mode, offset, device, inode, file; or the name of a size, and it
		fields := strings.Fields(line)
		switch {
		case len(fields) == 6 && fields[4] != "0" && (fields[1] == "r-xp" || fields[1] == "r--p"):
			first, last, _ := strings.Cut(fields[0], "-")
			from, err1 := strconv.ParseUint(first, 16, 64)
			to, err2 := strconv.ParseUint(last, 16, 64)
			if err1 == nil && err2 == nil && from < to {
				r = addressRange{uintptr(from), uintptr(to)}
			}
		case len(fields) == 3 && fields[0] == "Anonymous:":
			if fields[1] == "0" && r.to != 0 {
				list = append(list, r)
			}
			r = addressRange{}
		}
	}
	return list
}
