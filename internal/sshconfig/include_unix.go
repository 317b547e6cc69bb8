//go:build unix

package sshconfig

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// checkWritable refuses a file that a new one cannot take the place of without
// losing something: its owner, or another tool's read-only store.
func checkWritable(path string, st fs.FileInfo) error {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && int(sys.Uid) != os.Geteuid() {
		return fmt.Errorf("it belongs to user %d, not to you (%d)", sys.Uid, os.Geteuid())
	}
	for _, p := range []string{path, filepath.Dir(path)} {
		if err := unix.Access(p, unix.W_OK); err != nil {
			return &fs.PathError{Op: "write", Path: p, Err: err}
		}
	}
	return nil
}
