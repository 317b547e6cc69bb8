//go:build unix

package pipe

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// Buffers that a pipe has no room for at once arrive whole, and a deadline leaves what was
// not written.
func TestWriteBuffers(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := &Pair{In: r, Out: w}
	var bufs net.Buffers
	var said []byte
	for i, size := range []int{0, 1, 200000, 3, 0, 70000, 1 << 20, 5, 0} {
		b := bytes.Repeat([]byte{byte('a' + i)}, size)
		bufs = append(bufs, b)
		said = append(said, b...)
	}
	read := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(r)
		read <- b
	}()
	n, err := p.WriteBuffers(&bufs)
	if err != nil || n != int64(len(said)) || len(bufs) > 0 {
		t.Errorf("%d of %d bytes, %d buffers are left: %v", n, len(said), len(bufs), err)
	}
	w.Close()
	if got := <-read; !bytes.Equal(got, said) {
		t.Errorf("%d bytes came", len(got))
	}

	r, w, err = os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	p = &Pair{In: r, Out: w}
	_ = p.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	bufs = net.Buffers{bytes.Clone(said), []byte("rest")}
	n, err = p.WriteBuffers(&bufs)
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || len(bufs) != 2 || len(bufs[0]) != len(said)-int(n) {
		t.Errorf("%d bytes, %d buffers are left: %v", n, len(bufs), err)
	}
	r.Close()
	_ = p.SetWriteDeadline(time.Time{})
	if _, err = p.WriteBuffers(&bufs); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a pipe that nobody reads: %v", err)
	}
}
