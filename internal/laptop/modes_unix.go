//go:build unix

package laptop

import (
	"io/fs"
	"os"
	"syscall"
)

// tooOpen reports whether ssh ignores a key file because others may use it: it is the
// user's own, and its mode has anything for others.
func tooOpen(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Getuid() && info.Mode().Perm()&0o077 != 0
}
