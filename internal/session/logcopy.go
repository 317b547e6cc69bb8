//go:build linux

package session

import (
	"errors"
	"io"
)

// copyLog passes on what the log in dir holds from offset on, and returns where
// it stopped.
func copyLog(dir string, offset uint64, to sink) (uint64, error) {
	r, closeLog, err := openLog(dir)
	if err != nil {
		return offset, err
	}
	defer closeLog()
	return r.copyTo(to, offset)
}

func (r logReader) copyTo(to sink, offset uint64) (uint64, error) {
	buf := make([]byte, maxData)
	sizes, _ := to.(resizable)
	if sizes != nil {
		sizes.resized(r.sizeAt(offset))
	}
	for {
		if w, ok := r.sizeBegins(offset); ok && sizes != nil {
			sizes.resized(w)
		}
		n, s, err := r.read(buf, offset)
		if errors.Is(err, io.EOF) {
			return offset, nil
		}
		if err != nil {
			return offset, err
		}
		if s == lost {
			err = to.gap(n)
		} else {
			err = to.put(s, buf[:n])
		}
		if err != nil {
			return offset, sinkError{err}
		}
		offset += n
	}
}
