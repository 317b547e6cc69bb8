//go:build unix

package contents

import (
	"io/fs"
	"syscall"
)

// owner returns the user and the group of a file; zeros if they are not known.
func owner(st fs.FileInfo) (ids [2]uint32) {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		ids = [2]uint32{s.Uid, s.Gid}
	}
	return ids
}
