//go:build unix

package main

import (
	"os"
	"syscall"
)

// isAnothers reports whether a directory belongs to a user other than this process's.
func isAnothers(dir string) bool {
	st, err := os.Stat(dir)
	if err != nil {
		return false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) != os.Geteuid()
}
