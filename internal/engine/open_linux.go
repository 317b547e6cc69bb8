package engine

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// OpenIn opens a regular file that a workspace wrote, for reading. A program in the workspace can
// replace it by something else: opening a device can have effects, and opening a named pipe can
// block. So OpenIn first examines the name through a descriptor that opens nothing (O_PATH), and
// then opens that very file. It follows no links.
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
