package api

import (
	"os"

	"golang.org/x/sys/unix"
)

// pipeSize is how much a pipe between the link, its ssh and the node may hold, in
// bytes: the most that a user may ask for (pipe(7)). The usual 64 KiB are less
// than one frame with its head, so that each would wait for its reader twice.
const pipeSize = 1 << 20

// Widen lets each file that is a pipe hold more. What cannot be, stays as it is.
func Widen(files ...*os.File) {
	for _, f := range files {
		if raw, err := f.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
		}
	}
}
