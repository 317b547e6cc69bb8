//go:build linux

package sftp

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// maxHandles bounds the files that one client has open. They are descriptors of this process, which
// other clients need, too. It is the number that sftp-server can open under the usual limit of
// 1,024 descriptors.
const maxHandles = 1024 - 5

// handle is an open file or directory.
type handle struct {
	id      uint32
	fd      int
	name    string // the path by which it was opened
	appends bool
	entries *entries // of a directory; nil: a file
}

// handles are a client's. A handle on the wire is its index: four bytes.
type handles struct {
	open []*handle // nil: closed
	free []uint32  // indexes of nil, the one that was closed last at the end
}

// full reports whether there is no room for another.
func (t *handles) full() bool { return len(t.free) == 0 && len(t.open) >= maxHandles }

// add gives h a number and returns it as the client sees it.
func (t *handles) add(h *handle) []byte {
	if n := len(t.free); n > 0 {
		h.id, t.free = t.free[n-1], t.free[:n-1]
		t.open[h.id] = h
	} else {
		h.id = uint32(len(t.open))
		t.open = append(t.open, h)
	}
	return binary.BigEndian.AppendUint32(nil, h.id)
}

// find returns the handle that a client names, or nil.
func (t *handles) find(wire []byte) *handle {
	if len(wire) != 4 {
		return nil
	}
	if id := binary.BigEndian.Uint32(wire); uint64(id) < uint64(len(t.open)) {
		return t.open[id]
	}
	return nil
}

func (t *handles) remove(h *handle) {
	t.open[h.id] = nil
	t.free = append(t.free, h.id)
}

// fileOf returns h if it is an open file.
func fileOf(h *handle) (*handle, bool) {
	return h, h != nil && h.entries == nil
}

func (s *session) close(h *handle) (byte, error) {
	if h == nil {
		return 0, statusNoSuchFile
	}
	s.handles.remove(h)
	return fxpStatus, unix.Close(h.fd)
}

func (s *session) closeAll() {
	for _, h := range s.handles.open {
		if h != nil {
			unix.Close(h.fd)
		}
	}
}
