//go:build !linux

package engine

import (
	"os"
	"syscall"
)

// OpenIn opens a regular file that a workspace wrote, for reading. It follows no links out of root,
// and a named pipe cannot block it. On this system containers run in a virtual machine and share no
// Home with it, so nothing could make a device.
func OpenIn(root *os.Root, name string) (*os.File, error) {
	if st, err := root.Lstat(name); err != nil || !st.Mode().IsRegular() {
		if err == nil {
			err = notRegular(name)
		}
		return nil, err
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = notRegular(name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
