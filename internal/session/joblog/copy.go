//go:build linux

package joblog

import (
	"errors"
	"io"

	"keyway/internal/session/wire"
)

// Copy passes the log in dir on from offset on. It returns the offset at which it stopped.
func Copy(dir string, offset uint64, to wire.Sink) (uint64, error) {
	r, closeLog, err := Open(dir)
	if err != nil {
		return offset, err
	}
	defer closeLog()
	return r.CopyTo(to, offset)
}

// CopyTo passes the log on from offset on, with the sizes of the job's terminal. It returns the
// offset at which it stopped.
func (r Reader) CopyTo(to wire.Sink, offset uint64) (uint64, error) {
	buf := make([]byte, wire.MaxData)
	sizes, _ := to.(wire.Resizable)
	if sizes != nil {
		sizes.Resized(r.sizeAt(offset))
	}
	for {
		if w, ok := r.sizeBegins(offset); ok && sizes != nil {
			sizes.Resized(w)
		}
		n, s, err := r.Read(buf, offset)
		if errors.Is(err, io.EOF) {
			return offset, nil
		}
		if err != nil {
			return offset, err
		}
		if s == wire.Lost {
			err = to.Gap(n)
		} else {
			err = to.Put(s, buf[:n])
		}
		if err != nil {
			return offset, wire.SinkError{Err: err}
		}
		offset += n
	}
}
