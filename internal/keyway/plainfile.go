package keyway

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// ErrNoPlainFile is the error of something that is not a regular file.
var ErrNoPlainFile = errors.New("it is not a regular file")

// OpenPlainFile opens a regular file for reading. Anything else is ErrNoPlainFile, and is not
// waited for: opening a named pipe would wait for its writer.
func OpenPlainFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = ErrNoPlainFile
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// ReadPlainFile reads at most limit bytes of a file that others may have put there: in a
// repository or a shared directory; see OpenPlainFile.
func ReadPlainFile(path string, limit int64) ([]byte, error) {
	f, err := OpenPlainFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
