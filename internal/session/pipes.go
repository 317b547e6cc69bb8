//go:build linux

package session

import (
	"os"

	"golang.org/x/sys/unix"
)

// What the pipes of a job's output may hold, in bytes: each process on the way is woken
// less often. A user may have 64 MiB in wide pipes, so only those that somebody waits at
// are very wide.
const (
	Wide     = 256 << 10
	VeryWide = 1 << 20
)

// Widen enlarges the buffer of f if it is a pipe, and the kernel allows it.
func Widen(f *os.File, size int) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, size) })
	}
}
