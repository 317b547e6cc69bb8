package engine

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// OpenIn opens a regular file that a workspace wrote for reading. A program
// in the workspace can put other things in its place. So what the name stands for
// is looked at through a descriptor that opens nothing (O_PATH), because to open
// a device can already do something and to open a named pipe can wait, and then
// that very file is opened. Links are not followed.
func OpenIn(root *os.Root, name string) (*os.File, error) {
	at, err := root.OpenFile(name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	st, err := at.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, notRegular(name)
	}
	return os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(at.Fd())), os.O_RDONLY|unix.O_NONBLOCK, 0)
}
