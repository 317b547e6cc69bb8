// Package sshwire reads and writes the data types of RFC 4251 section 5. A Reader never reads
// beyond its bytes and allocates nothing, so it is bounded by them. Begin with NewReader, and with
// AppendString to write.
package sshwire

import (
	"encoding/binary"
	"errors"
)

// ErrShort means that a message is shorter than it announces.
var ErrShort = errors.New("the message is incomplete")

// ErrTrailing means that bytes follow the end of a message.
var ErrTrailing = errors.New("the message has bytes after its end")

// Reader reads one value after the other. After an error, every read returns the zero value, so a
// caller may read a whole message and check Err once.
type Reader struct {
	rest []byte
	err  error
}

// NewReader reads from data, which must not change meanwhile: strings are parts
// of it.
func NewReader(data []byte) *Reader { return &Reader{rest: data} }

func (r *Reader) take(n uint64) []byte {
	if r.err != nil {
		return nil
	}
	if n > uint64(len(r.rest)) {
		r.err = ErrShort
		return nil
	}
	got := r.rest[:n:n]
	r.rest = r.rest[n:]
	return got
}

// Byte reads a byte.
func (r *Reader) Byte() byte {
	b := r.take(1)
	if b == nil {
		return 0
	}
	return b[0]
}

// Uint32 reads a uint32.
func (r *Reader) Uint32() uint32 {
	b := r.take(4)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

// Uint64 reads a uint64.
func (r *Reader) Uint64() uint64 {
	b := r.take(8)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// String reads a string; nil only after an error.
func (r *Reader) String() []byte {
	n := r.Uint32()
	if r.err != nil {
		return nil
	}
	return r.take(uint64(n))
}

// Text reads a string that stands for text.
func (r *Reader) Text() string { return string(r.String()) }

// Rest returns the unread bytes.
func (r *Reader) Rest() []byte { return r.rest }

// More reports whether there is something left to read.
func (r *Reader) More() bool { return r.err == nil && len(r.rest) > 0 }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// End returns the first error, or ErrTrailing if not all was read.
func (r *Reader) End() error {
	if r.err == nil && len(r.rest) > 0 {
		return ErrTrailing
	}
	return r.err
}

// AppendUint32 appends a uint32 to b.
func AppendUint32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }

// AppendString appends a string to b.
func AppendString[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}
