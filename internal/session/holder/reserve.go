//go:build linux

package holder

import (
	"fmt"
	"os"
	"path/filepath"
)

// reserveSize is the size on disk of exit.json. It is allocated at the start, so that the end of a
// job can be recorded when the disk is full.
const reserveSize = 4 << 10

// reserved is a file with its space allocated.
type reserved struct {
	f    *os.File
	path string
}

func reserve(path string) (*reserved, error) {
	f, err := os.OpenFile(path+".reserved", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(blank(reserveSize)); err != nil {
		f.Close()
		return nil, err
	}
	return &reserved{f: f, path: path}, nil
}

// reopenReserved opens the file that reserve has made.
func reopenReserved(path string) (*reserved, error) {
	f, err := os.OpenFile(path+".reserved", os.O_RDWR, 0)
	return &reserved{f: f, path: path}, err
}

func blank(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = ' '
	}
	return b
}

// commit writes data, padded with blanks, durably to the reserved path.
func (r *reserved) commit(data []byte) error {
	defer r.f.Close()
	if len(data) > reserveSize {
		return fmt.Errorf("%s would be over %d bytes", r.path, reserveSize)
	}
	if _, err := r.f.WriteAt(append(data, blank(reserveSize-len(data))...), 0); err != nil {
		return err
	}
	if err := r.f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(r.f.Name(), r.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(r.path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
