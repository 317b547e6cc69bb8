//go:build unix

package handover

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// connected returns a pair of unix sockets.
func connected(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conns[i] = c.(*net.UnixConn)
	}
	return conns[0], conns[1]
}

func TestSendAndReceive(t *testing.T) {
	to, from := connected(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	sent := Bundle{State: bytes.Repeat([]byte("state"), 1000)}
	if err := sent.Add(r); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer r.Close()
		if sent.Send(to) == nil {
			_ = SendEnd(to)
		}
	}()
	got, err := Receive(from, 1<<20)
	if err != nil || !bytes.Equal(got.State, sent.State) || len(got.Descriptors) != 1 {
		t.Fatalf("%d bytes, descriptors %v, %v", len(got.State), got.Descriptors, err)
	}
	defer got.Close()
	if flags, err := unix.FcntlInt(uintptr(got.Descriptors[0]), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("programs inherit it: %d, %v", flags, err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	var one [1]byte
	if n, err := unix.Read(got.Descriptors[0], one[:]); n != 1 || one[0] != 'x' {
		t.Errorf("it is another file: %q, %v", one, err)
	}
	if _, err := Receive(from, 1<<20); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

// TestReceiveRefuses checks that a bundle that is too large or incomplete is an error, and leaves
// no descriptor open.
func TestReceiveRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		follows []byte
		want    error
	}{
		"too large":          {binary.BigEndian.AppendUint32(nil, 101), ErrTooLarge},
		"without a state":    {nil, io.ErrUnexpectedEOF},
		"half a length":      {[]byte{0, 0}, io.ErrUnexpectedEOF},
		"a part of a state":  {append(binary.BigEndian.AppendUint32(nil, 100), 'x'), io.ErrUnexpectedEOF},
		"nothing of a state": {binary.BigEndian.AppendUint32(nil, 100), io.ErrUnexpectedEOF},
	} {
		to, from := connected(t)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var b Bundle
		if err := b.Add(w); err != nil {
			t.Fatal(err)
		}
		if err := SendDescriptors(to, 0, b.Descriptors...); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if _, err := to.Write(c.follows); err != nil {
			t.Fatal(err)
		}
		to.Close()
		if _, err := Receive(from, 100); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("%s: the descriptor is still open: %v", name, err)
		}
		r.Close()
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 'x'})
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, follows []byte) {
		to, from := connected(t)
		if SendDescriptors(to, 0, 0) != nil {
			t.Fatal("nothing can be sent")
		}
		go func() {
			_, _ = to.Write(follows)
			to.Close()
		}()
		b, err := Receive(from, 1<<10)
		if err == nil && (len(b.State) > 1<<10 || len(b.State)+4 > len(follows)) {
			t.Errorf("%d bytes came of %d", len(b.State), len(follows))
		}
		b.Close()
	})
}
