//go:build unix

package template

import (
	"io/fs"
	"os"
	"syscall"
)

// trusted reports whether only the user or root can have written the file.
func trusted(st fs.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && (sys.Uid == uint32(os.Getuid()) || sys.Uid == 0) && st.Mode().Perm()&0o002 == 0
}
