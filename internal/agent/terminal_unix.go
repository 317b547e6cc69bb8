//go:build unix

package agent

import (
	"os"

	"golang.org/x/sys/unix"
)

// InForeground reports whether f is a terminal whose foreground process group is ours
// (tcgetpgrp(3)).
func InForeground(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	group := -1
	err = raw.Control(func(fd uintptr) {
		if g, err := unix.IoctlGetInt(int(fd), unix.TIOCGPGRP); err == nil {
			group = g
		}
	})
	return err == nil && group == unix.Getpgrp()
}
