//go:build unix

package node

import (
	"io/fs"
	"syscall"
)

// ownerOf returns the uid of a file's owner; false if there is none.
func ownerOf(st fs.FileInfo) (uint32, bool) {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return sys.Uid, true
}
