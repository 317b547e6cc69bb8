// Package bounded keeps the beginning of an output whose length another program or machine decides,
// and discards the rest. It is used instead of bytes.Buffer wherever the writer is not trusted.
package bounded

import "bytes"

// Buffer is an io.Writer that keeps the first Max bytes and drops the rest without an error, so
// that the writer can finish. It has no method of bytes.Buffer that would read without a bound:
// io.Copy prefers ReadFrom to Write.
type Buffer struct {
	Max  int  // in bytes; 0 keeps nothing
	Over bool // reports whether bytes were dropped
	kept bytes.Buffer
}

// Write implements io.Writer. It never fails.
func (b *Buffer) Write(p []byte) (int, error) {
	n := min(len(p), b.Max-b.kept.Len())
	b.Over = b.Over || n < len(p)
	b.kept.Write(p[:n])
	return len(p), nil
}

// Bytes returns the kept bytes. The next Write may change it.
func (b *Buffer) Bytes() []byte { return b.kept.Bytes() }

// String returns the kept bytes.
func (b *Buffer) String() string { return b.kept.String() }
