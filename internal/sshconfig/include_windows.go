package sshconfig

import (
	"io/fs"
)

// checkWritable refuses a file with the read-only attribute, which is all that
// Windows tells before one tries.
func checkWritable(path string, st fs.FileInfo) error {
	if st.Mode().Perm()&0o200 == 0 {
		return &fs.PathError{Op: "write", Path: path, Err: fs.ErrPermission}
	}
	return nil
}
