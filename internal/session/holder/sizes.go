//go:build linux

package holder

import "keyway/internal/session/wire"

// sizeMark says what size the job's terminal has from an offset on.
type sizeMark struct {
	offset uint64
	window wire.Window
}

// maxSizes bounds how many sizes are kept in memory; a window that is drawn larger has
// many in a second. The log has all.
const maxSizes = 4096

// resize says what size the job's terminal has from here on.
func (t *tape) resize(w wire.Window) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log.Resize(w)
	if n := len(t.sizes); n > 0 && t.sizes[n-1].offset == t.ring.end {
		t.sizes = t.sizes[:n-1]
	}
	if len(t.sizes) >= maxSizes {
		t.sizes = append(t.sizes[:0], t.sizes[maxSizes/2:]...)
	}
	t.sizes = append(t.sizes, sizeMark{t.ring.end, w})
}

// sizeAt is the size at an offset, and up to where it holds. Before the first that is
// known it is that one.
func (t *tape) sizeAt(offset uint64) (w wire.Window, until uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	until = t.ring.end
	for i := len(t.sizes) - 1; i >= 0; i-- {
		if w = t.sizes[i].window; t.sizes[i].offset <= offset {
			return w, max(until, offset)
		}
		until = t.sizes[i].offset
	}
	return w, max(until, offset)
}
