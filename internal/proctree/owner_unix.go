//go:build unix

package proctree

import (
	"os"
	"syscall"
)

// Owner returns the user whose process it is; ok is false if that is not told.
func Owner(pid int) (uid int, ok bool) {
	st, err := os.Stat(path(pid, ""))
	if err != nil {
		return 0, false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(sys.Uid), true
}
