package pipe

import "io"

// Inlet reads by large pieces where there is much, and holds little memory where there is
// not: most connections are idle most of the time.
type Inlet struct {
	Buffers *Buffers // for the large pieces
	small   [1 << 10]byte
	large   *[]byte
}

// Read returns bytes that have arrived from r. They are valid until the next Read. There is no
// error beside bytes.
func (in *Inlet) Read(r io.Reader) ([]byte, error) {
	buf := in.small[:]
	if in.large != nil {
		buf = *in.large
	}
	n, err := r.Read(buf)
	switch {
	case n == len(in.small) && in.large == nil:
		in.large = in.Buffers.Get()
	case n < len(in.small) && in.large != nil:
		b := append(in.small[:0], buf[:n]...)
		in.Shrink()
		buf = b
	}
	if n > 0 {
		err = nil
	}
	return buf[:n], err
}

// Shrink releases the buffer for large pieces. The last that was read ends with it.
func (in *Inlet) Shrink() {
	if in.large != nil {
		in.Buffers.Put(in.large)
		in.large = nil
	}
}
