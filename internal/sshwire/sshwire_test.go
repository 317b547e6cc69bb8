package sshwire

import (
	"bytes"
	"errors"
	"testing"
)

func TestReader(t *testing.T) {
	b := AppendString(AppendUint32([]byte{7}, 258), "text")
	r := NewReader(b)
	if r.Byte() != 7 || r.Uint32() != 258 || r.Text() != "text" || r.More() || r.End() != nil {
		t.Errorf("%v", r.Err())
	}
	for i := range b {
		r := NewReader(b[:i])
		r.Byte()
		r.Uint32()
		if r.String() != nil || !errors.Is(r.End(), ErrShort) || r.More() {
			t.Errorf("cut at %d: %v", i, r.Err())
		}
	}
	if r := NewReader(append(b, 0)); r.Byte() != 7 || !errors.Is(r.End(), ErrTrailing) {
		t.Error("bytes after the end go unseen")
	}
	if r := NewReader([]byte{0xff, 0xff, 0xff, 0xff, 1}); r.String() != nil || r.Err() == nil {
		t.Error("a length beyond the message was taken")
	}
}

func FuzzReader(f *testing.F) {
	f.Add(AppendString(nil, "abc"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	// Strings that were read are written again as the same bytes.
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewReader(data)
		var again []byte
		for r.More() {
			before := r.Rest()
			s := r.String()
			if r.Err() != nil {
				again = append(again, before...)
				break
			}
			again = AppendString(again, s)
		}
		if !bytes.Equal(again, data) {
			t.Fatalf("%x became %x", data, again)
		}
	})
}
