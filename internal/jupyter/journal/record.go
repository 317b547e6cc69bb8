package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"keyway/internal/jupyter/wire"
)

// kind is the kind of a record.
type kind byte

const (
	request     kind = 'Q' // the execute_request, as V1
	input       kind = 'N' // execute_input, as V1
	output      kind = 'M' // another message of the kernel that shows something, as V1
	stream      kind = 'S' // text: the length of the stream's name, a byte; the name; the text
	prompt      kind = 'P' // input_request, as V1
	answered    kind = 'A' // a client has answered the prompt
	reply       kind = 'R' // execute_reply, as V1
	idle        kind = 'I' // the status that ends the execution, as V1
	ended       kind = 'E' // the kernel was restarted or has died: the notice in the output
	written     kind = 'W' // the notebook's file has the outputs
	overwritten kind = 'O' // the file was saved without them
	restarted   kind = 'T' // the connection was made again here
	gap         kind = 'G' // a number of bytes that are left out here, as a uvarint
	tried       kind = 'B' // the request may have been sent
	sent        kind = 'D' // the request was sent completely
	told        kind = 'L' // a user knows of the end
	anew        kind = 'F' // the kernel was restarted here: later updates do not change the displays before
	repeated    kind = 'U' // the request was sent again after the end, and runs again
	commit      kind = 'C' // a Mark: the records before it belong to the messages of the mark
)

// record is a kind, the length of the data as a uvarint, the data, and the CRC-32C of these,
// little-endian.
type record struct {
	kind kind
	data []byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maxAround is an upper bound, in bytes, on the parts of a record other than its data, together
// with the commit after it.
const maxAround = 64

func (r record) append(b []byte) []byte {
	b = slices.Grow(b, len(r.data)+maxAround) // otherwise a large one is copied once more
	start := len(b)
	b = append(r.head(b), r.data...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

func (r record) head(b []byte) []byte {
	return binary.AppendUvarint(append(b, byte(r.kind)), uint64(len(r.data)))
}

// parts returns the bytes that append would append, in parts. The data is not copied.
func (r record) parts() [][]byte {
	head := r.head(nil)
	sum := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, r.data)
	return [][]byte{head, r.data, binary.LittleEndian.AppendUint32(nil, sum)}
}

// errTorn is the error for a file whose last record was not written completely.
var errTorn = errors.New("a torn record")

// sized is a reader whose remaining length is known: memory for a record is allocated only if
// that many bytes remain.
type sized interface {
	io.Reader
	io.ReaderAt
	Size() int64
}

// lender reads records for callers that keep no part of a record: it reuses the memory of one for
// the next.
type lender struct {
	buf   []byte
	long  uint64            // data of an output with more bytes stays where it is; 0: no data does
	place *io.SectionReader // of the record's data, if that stays there
}

// next returns the next record, or io.EOF at the end of a complete one, and its length in bytes. left is
// the number of the remaining bytes of all. Data that stays in its place is checked, too.
func (l *lender) next(all sized, r *bufio.Reader, left int64) (record, int64, error) {
	k, err := r.ReadByte()
	if err != nil {
		return record{}, 0, io.EOF
	}
	n, err := binary.ReadUvarint(r)
	if err != nil || n > wire.MaxMessage+1<<20 || int64(n) > left {
		return record{}, 0, errTorn
	}
	head := binary.AppendUvarint([]byte{k}, n)
	size := int64(len(head)) + int64(n) + crc32.Size
	if l.place = nil; l.long > 0 && kind(k) == output && n > l.long {
		sum, want := crc32.New(castagnoli), [crc32.Size]byte{}
		_, _ = sum.Write(head) // never fails
		if _, err = io.CopyN(sum, r, int64(n)); err == nil {
			_, err = io.ReadFull(r, want[:])
		}
		if err != nil || sum.Sum32() != binary.LittleEndian.Uint32(want[:]) {
			return record{}, 0, errTorn
		}
		l.place = io.NewSectionReader(all, all.Size()-left+int64(len(head)), int64(n))
		return record{kind(k), nil}, size, nil
	}
	data := slices.Grow(l.buf[:0], int(n)+4)[:n+4]
	if _, err := io.ReadFull(r, data); err != nil {
		return record{}, 0, errTorn
	}
	sum := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, data[:n])
	if binary.LittleEndian.Uint32(data[n:]) != sum {
		return record{}, 0, errTorn
	}
	l.buf = data[:n]
	return record{kind(k), data[:n]}, size, nil
}

// readAll calls f with each record until f returns an error or the records end. It returns the
// length of the complete records in bytes.
func readAll(r sized, f func(record) error) (int64, error) {
	return readEach(r, func(left int64, buffered *bufio.Reader) (record, int64, error) {
		return new(lender).next(r, buffered, left)
	}, f)
}

func (l *lender) readAll(r sized, f func(record) error) (int64, error) {
	return readEach(r, func(left int64, buffered *bufio.Reader) (record, int64, error) { return l.next(r, buffered, left) }, f)
}

func readEach(r sized, next func(left int64, r *bufio.Reader) (record, int64, error), f func(record) error) (int64, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	var size int64
	for {
		rec, n, err := next(r.Size()-size, buffered)
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return size, err
		}
		if err := f(rec); err != nil {
			return size, err
		}
		size += n
	}
}

func messageRecord(k kind, m wire.Message) record {
	data, _ := m.Encode(wire.V1)
	return record{k, data}
}

func (r record) message() (wire.Message, error) { return wire.Decode(wire.V1, true, r.data) }

func textRecord(name, text string) record {
	name = name[:min(len(name), 255)]
	data := append(append(make([]byte, 0, 1+len(name)+len(text)), byte(len(name))), name...)
	return record{stream, append(data, text...)}
}

func (r record) text() (name, text string) {
	if len(r.data) == 0 || len(r.data) <= int(r.data[0]) {
		return "", ""
	}
	n := 1 + int(r.data[0])
	return string(r.data[1:n]), string(r.data[n:])
}

// Mark identifies the bytes of a connection that were written down together: their number and
// their CRC-32C.
type Mark struct {
	Bytes int64
	Sum   uint32
}

func (m Mark) record() record {
	return record{commit, binary.LittleEndian.AppendUint32(binary.AppendUvarint(nil, uint64(m.Bytes)), m.Sum)}
}

func (r record) mark() Mark {
	bytes, n := binary.Uvarint(r.data)
	if n <= 0 || len(r.data) != n+4 {
		return Mark{}
	}
	return Mark{int64(bytes), binary.LittleEndian.Uint32(r.data[n:])}
}

func gapRecord(bytes int64) record { return record{gap, binary.AppendUvarint(nil, uint64(bytes))} }

func (r record) gap() int64 {
	n, _ := binary.Uvarint(r.data)
	return int64(n)
}

// restartText marks the place at which the connection to the Jupyter server was replaced during a
// cell. Messages that the server had sent, and that were not written to the journal, are lost.
const restartText = "\n[keyway-jupyter has connected to the kernel again here: what it said in that moment may be missing]\n"

// gapText returns the notice for output that was left out.
func gapText(bytes int64) string {
	return fmt.Sprintf("\n[keyway left out %d bytes of output here]\n", bytes)
}
