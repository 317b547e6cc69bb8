package pipe

import (
	"io"
	"sync"
)

// Buffers copies with buffers of Size bytes, which all copies share: a relay that is
// idle costs its two buffers and two goroutines. Without a Size it is 32 KiB.
type Buffers struct {
	Size int
	pool sync.Pool
}

// Get returns a buffer of Size bytes, to be given back by Put.
func (s *Buffers) Get() *[]byte {
	if b, ok := s.pool.Get().(*[]byte); ok {
		return b
	}
	size := s.Size
	if size <= 0 {
		size = 32 << 10
	}
	b := make([]byte, size)
	return &b
}

// Put takes back what Get has returned.
func (s *Buffers) Put(b *[]byte) { s.pool.Put(b) }

// Copy copies until the end of src, which is no error. Unlike io.Copy it never lets dst
// or src choose a way of its own: those allocate a buffer for each call.
func (s *Buffers) Copy(dst io.Writer, src io.Reader) error {
	b := s.Get()
	defer s.Put(b)
	for {
		n, err := src.Read(*b)
		if n > 0 {
			if _, werr := dst.Write((*b)[:n]); werr != nil {
				return &writeError{werr}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// writeError is the error of a Copy that could read but not write.
type writeError struct{ error }

// Unwrap returns the writer's error.
func (e *writeError) Unwrap() error { return e.error }
