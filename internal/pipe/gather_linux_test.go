package pipe

import (
	"bytes"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// several returns buffers of the given sizes, and their joined content.
func several(sizes ...int) (bufs net.Buffers, said []byte) {
	for i, size := range sizes {
		b := bytes.Repeat([]byte{byte(i + 1)}, size)
		bufs, said = append(bufs, b), append(said, b...)
	}
	return bufs, said
}

// TestPairWritesBuffersByOneCall checks that several buffers are written by one call. The socket
// makes each write one packet, and the test counts packets.
func TestPairWritesBuffersByOneCall(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far")
	defer near.Close()
	defer far.Close()
	bufs, said := several(16368, 1, 0, 16368)
	if n, err := (&Pair{Out: near}).WriteBuffers(bufs); int(n) != len(said) || err != nil {
		t.Fatalf("%d of %d bytes: %v", n, len(said), err)
	}
	got := make([]byte, 2*len(said))
	n, err := far.Read(got)
	if err != nil || !bytes.Equal(got[:n], said) {
		t.Errorf("the first packet has %d of %d bytes: %v", n, len(said), err)
	}
}

// TestPairWritesBuffersToAFullPipe checks that a full pipe takes the rest later, and that a pipe
// without a reader ends the write.
func TestPairWritesBuffersToAFullPipe(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	p := &Pair{In: in, Out: out}
	_ = p.SetDeadline(time.Now().Add(time.Minute))
	bufs, said := several(100_000, 1, 70_000, 300_000)
	var written int64
	ended := inBackground(func() { written, err = p.WriteBuffers(bufs) })
	got := make([]byte, len(said))
	if _, err := io.ReadFull(in, got); err != nil || !bytes.Equal(got, said) {
		t.Errorf("other bytes come: %v", err)
	}
	returns(t, ended)
	if int(written) != len(said) || err != nil {
		t.Errorf("%d of %d bytes: %v", written, len(said), err)
	}
	in.Close()
	if bufs, _ := several(5, 7); err == nil {
		if n, err := p.WriteBuffers(bufs); n != 0 || err == nil {
			t.Errorf("%d bytes went to nobody: %v", n, err)
		}
	}
}

// TestPairWritesAtOnce checks that a pipe of either mode takes what it has room for, and that
// WriteAtOnce waits neither for room nor for a reader.
func TestPairWritesAtOnce(t *testing.T) {
	for name, blocks := range map[string]bool{"a pipe that does not block": false, "a pipe that blocks": true} {
		t.Run(name, func(t *testing.T) {
			in, out, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			defer out.Close()
			if blocks {
				out.Fd() // changes the mode
			}
			p := &Pair{In: in, Out: out}
			bufs, said := several(1000, 0, 7, 300_000)
			n := p.WriteAtOnce(bufs)
			got := make([]byte, n)
			if _, err := io.ReadFull(in, got); n <= 1007 || n >= len(said) || err != nil || !bytes.Equal(got, said[:n]) {
				t.Errorf("%d of %d bytes came: %v", n, len(said), err)
			}
			p.WriteAtOnce(bufs)
			if n := p.WriteAtOnce(bufs); n != 0 {
				t.Errorf("a full pipe took %d bytes", n)
			}
			in.Close()
			if n := p.WriteAtOnce(bufs); n != 0 {
				t.Errorf("%d bytes went to nobody", n)
			}
		})
	}
}
