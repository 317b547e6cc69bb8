package pipe

import (
	"os"

	"golang.org/x/sys/unix"
)

// Widen enlarges the buffer of each file that is a pipe to size bytes. Other files, and
// pipes that the kernel does not enlarge, stay as they are.
func Widen(size int, files ...*os.File) {
	for _, f := range files {
		if raw, err := f.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, size) })
		}
	}
}

// Pollable returns f. If f is a pipe with which the process was started, Pollable closes it and
// returns another descriptor of the pipe: a wait for that one takes no thread, and closing it ends
// the wait.
func Pollable(f *os.File) *os.File {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return f
	}
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		return f
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return f
	}
	f.Close()
	return os.NewFile(uintptr(fd), f.Name())
}
