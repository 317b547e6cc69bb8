package wire

import (
	"encoding/binary"
	"io"
)

// maxInPlace bounds the bytes before the content of a message that stays in a file.
const maxInPlace = 64 << 10

// InPlace reads a message that was written as V1, and leaves its content in the file: Long has it in
// place of Content. It does not check the content again. ok is false for a message that must be read as a
// whole, because it has buffers or long headers.
func InPlace(r *io.SectionReader) (m Message, ok bool) {
	const offsets = 6
	head := make([]byte, min(maxInPlace, r.Size()))
	if _, err := r.ReadAt(head, 0); err != nil || len(head) < 8*(offsets+1) || binary.LittleEndian.Uint64(head) != offsets {
		return m, false
	}
	from, to := binary.LittleEndian.Uint64(head[8*(offsets-1):]), binary.LittleEndian.Uint64(head[8*offsets:])
	if from > uint64(len(head)) || to < from || to > uint64(r.Size()) {
		return m, false
	}
	binary.LittleEndian.PutUint64(head[8*offsets:], from) // without content
	m, err := Decode(V1, true, head[:from])
	m.Content, m.Long = nil, io.NewSectionReader(r, int64(from), int64(to-from))
	return m, err == nil
}

// Binary reports whether the frame of the message is binary.
func (m Message) Binary(p Protocol) bool { return p == V1 || len(m.Buffers) > 0 }

// Write writes the message as the content of a frame. It copies no part that is in memory.
func (m Message) Write(w io.Writer, p Protocol) error {
	parts, _ := m.Parts(p)
	content := 5
	if p == JSON {
		content = 7
	}
	for i, part := range parts {
		var err error
		if i == content && m.Long != nil {
			plain := struct{ io.Writer }{w} // a websocket's own ReadFrom would make a frame of each 4 KiB
			_, err = io.CopyBuffer(plain, io.NewSectionReader(m.Long, 0, m.Long.Size()), make([]byte, maxInPlace))
		} else {
			_, err = w.Write(part)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
