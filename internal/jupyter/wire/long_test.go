package wire

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// inPlace reads a message in the form V1 from a file that has other bytes before and after it.
func inPlace(data []byte) (Message, bool) {
	all := append(append([]byte("before"), data...), "after"...)
	return InPlace(io.NewSectionReader(bytes.NewReader(all), int64(len("before")), int64(len(data))))
}

// TestInPlace checks that a message whose content stays in a file is written as one in memory is, also
// several times.
func TestInPlace(t *testing.T) {
	for _, size := range []int{0, 1, maxInPlace - 1, maxInPlace, maxInPlace + 1, 3 * maxInPlace} {
		m := New("kernel", []byte(`{"msg_id":"req"}`), "iopub", "display_data", Text{"stdout", strings.Repeat("x", size)})
		data, _ := m.Encode(V1)
		long, ok := inPlace(data)
		if !ok || long.Content != nil || long.Head != m.Head || long.Origin != m.Origin || long.Size() != m.Size() {
			t.Fatalf("%d bytes: %v, %+v", size, ok, long)
		}
		for _, p := range []Protocol{V1, JSON, V1, JSON} {
			want, isBinary := m.Encode(p)
			var got bytes.Buffer
			if err := long.Write(&got, p); err != nil || long.Binary(p) != isBinary || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%d bytes, protocol %d: %v, %d bytes, not %d", size, p, err, got.Len(), len(want))
			}
			got.Reset()
			if err := m.Write(&got, p); err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%d bytes in memory, protocol %d: %v, %d bytes, not %d", size, p, err, got.Len(), len(want))
			}
		}
	}
	for name, m := range map[string]Message{"buffers": sample([]byte("x")), "a long header": New("kernel", []byte(`{"msg_id":"req","more":"`+strings.Repeat("x", maxInPlace)+`"}`), "iopub", "error", Text{})} {
		data, _ := m.Encode(V1)
		if _, ok := inPlace(data); ok {
			t.Errorf("a message with %s stays in its file", name)
		}
	}
}

// FuzzInPlace compares InPlace with Decode.
func FuzzInPlace(f *testing.F) {
	data, _ := sample().Encode(V1)
	f.Add(data)
	f.Add(data[:len(data)-3])
	data, _ = sample([]byte("x")).Encode(V1)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		long, ok := inPlace(data)
		m, err := Decode(V1, true, data)
		if !ok || err != nil {
			return
		}
		var got bytes.Buffer
		if err := long.Write(&got, V1); err != nil {
			t.Fatal(err)
		}
		if again, err := Decode(V1, true, got.Bytes()); err != nil || !same(again, m) {
			t.Errorf("%+v is not %+v: %v", again, m, err)
		}
	})
}
