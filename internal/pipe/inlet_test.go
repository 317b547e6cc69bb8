package pipe

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

// pieces is a reader that gives one piece at a time.
type pieces [][]byte

func (p *pieces) Read(b []byte) (int, error) {
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, (*p)[0])
	if (*p)[0] = (*p)[0][n:]; len((*p)[0]) == 0 {
		*p = (*p)[1:]
	}
	return n, nil
}

// TestInlet checks that the bytes are read as they were sent, in pieces of any size, and that a
// large buffer is held only while much arrives.
func TestInlet(t *testing.T) {
	in := Inlet{Buffers: &Buffers{Size: 8 << 10}}
	var said, heard []byte
	var p pieces
	for i, size := range []int{1, 1023, 1024, 1, 5000, 8192, 20000, 3, 1024, 1024, 1024, 1023, 2} {
		piece := bytes.Repeat([]byte{byte(i + 1)}, size)
		said, p = append(said, piece...), append(p, piece)
	}
	r := iotest.DataErrReader(&p) // whose end comes beside the last bytes
	for {
		b, err := in.Read(r)
		if len(b) == 0 {
			if err != io.EOF {
				t.Fatal(err)
			}
			break
		}
		if err != nil {
			t.Fatalf("%v beside %d bytes", err, len(b))
		}
		heard = append(heard, b...)
		if len(b) < len(in.small) && in.large != nil {
			t.Fatalf("a large buffer is held after %d bytes", len(b))
		}
	}
	if !bytes.Equal(heard, said) {
		t.Errorf("%d bytes were read, not the %d that were said", len(heard), len(said))
	}
}
