//go:build linux

package holder

import "keyway/internal/session/wire"

// sizeMark is the size of the job's terminal from an offset on.
type sizeMark struct {
	offset uint64
	window wire.Window
}

// maxSizes bounds the sizes that are kept in memory; a window that the user resizes has many in a
// second. The log has all.
const maxSizes = 4096

// resize notes the size of the job's terminal from here on.
func (o *output) resize(w wire.Window) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.log.Resize(w)
	if n := len(o.sizes); n > 0 && o.sizes[n-1].offset == o.ring.end {
		o.sizes = o.sizes[:n-1]
	}
	if len(o.sizes) >= maxSizes {
		o.sizes = append(o.sizes[:0], o.sizes[maxSizes/2:]...)
	}
	o.sizes = append(o.sizes, sizeMark{o.ring.end, w})
}

// sizeAt returns the size at an offset and the offset up to which it holds. For an offset before
// the first known size, it returns that size.
func (o *output) sizeAt(offset uint64) (w wire.Window, until uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	until = o.ring.end
	for i := len(o.sizes) - 1; i >= 0; i-- {
		if w = o.sizes[i].window; o.sizes[i].offset <= offset {
			return w, max(until, offset)
		}
		until = o.sizes[i].offset
	}
	return w, max(until, offset)
}
