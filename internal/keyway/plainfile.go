package keyway

import (
	"errors"
	"io"
	"os"
	"syscall"
)

var errNoPlainFile = errors.New("it is not a regular file")

// ReadPlainFile reads at most limit bytes of a file that others may have put there: in a
// repository or a shared directory. Anything but a regular file is an error, and is not
// waited for: opening a named pipe would wait for its writer.
func ReadPlainFile(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errNoPlainFile
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
