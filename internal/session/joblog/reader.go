//go:build linux

package joblog

import (
	"errors"
	"io"
	"math"
	"os"
	"sort"
	"time"

	"keyway/internal/session/wire"
)

// Reader reads a log up to Size. It does not trust the files: a job can write to its own log.
type Reader struct {
	parts []part // by start, ascending
	Size  uint64 // offset after the last byte
}

// part is a segment that is open for reading.
type part struct {
	start       uint64
	data, index io.ReaderAt
	records     int64
}

func newReader(segments []segment, size uint64) Reader {
	r := Reader{Size: size}
	for _, s := range segments {
		r.parts = append(r.parts, part{s.start, s.data, s.index, s.records})
	}
	return r
}

// Missing reports whether there is no log at all.
func (r Reader) Missing() bool { return len(r.parts) == 0 }

// UpTo returns r without the bytes at offset and beyond.
func (r Reader) UpTo(offset uint64) Reader {
	r.Size = min(r.Size, offset)
	return r
}

// Open opens the log in dir in its present state.
func Open(dir string) (r Reader, closeLog func(), err error) {
	starts, err := segmentStarts(dir)
	if err != nil {
		return Reader{}, nil, err
	}
	var segments []segment
	size := uint64(0)
	for _, start := range starts {
		s, openErr := openSegment(dir, start, os.O_RDONLY)
		if errors.Is(openErr, os.ErrNotExist) {
			continue // removed just now, or its index does not exist yet
		}
		if openErr != nil {
			err = openErr
			break
		}
		segments = append(segments, s)
		size = start + fileSize(s.data)
	}
	closeLog = func() {
		for _, s := range segments {
			s.close()
		}
	}
	if err != nil {
		closeLog()
		return Reader{}, nil, err
	}
	return newReader(segments, size), closeLog, nil
}

// Base returns the offset of the first byte in the log.
func (r Reader) Base() uint64 {
	if len(r.parts) == 0 {
		return r.Size
	}
	return min(r.parts[0].start, r.Size)
}

// raw reads record i of the index. It is zero if the record cannot be read.
func (p part) raw(i int) record {
	var b [recordSize]byte
	_, _ = p.index.ReadAt(b[:], int64(i)*recordSize)
	return decodeRecord(b[:])
}

// at is raw, except for a record with a size: for that, it returns the stretch's other record.
func (p part) at(i int) record {
	r := p.raw(i)
	if r.stream == sized {
		before := record{stream: wire.Stdout}
		if i > 0 {
			before = p.raw(i - 1)
		}
		r.millis, r.stream = before.millis, min(before.stream, wire.Lost)
	}
	return r
}

// last returns the last record at or before an offset; i is -1 if there is none.
func (r Reader) last(offset uint64) (p part, i int) {
	next := sort.Search(len(r.parts), func(i int) bool { return r.parts[i].start > offset })
	if next == 0 {
		return part{}, -1
	}
	p = r.parts[next-1]
	return p, p.find(func(r record) bool { return r.offset > offset }) - 1
}

// sizeBegins returns the terminal's size for a stretch, if the size changes there or its
// segment has not given it before.
func (r Reader) sizeBegins(offset uint64) (w wire.Window, ok bool) {
	p, i := r.last(offset)
	if i < 0 {
		return wire.Window{}, false
	}
	rec := p.raw(i)
	return rec.window(), rec.stream == sized
}

// sizeAt returns the terminal's size at an offset; zero if the log does not have it.
func (r Reader) sizeAt(offset uint64) wire.Window {
	p, i := r.last(offset)
	index := make([]byte, max(0, i+1)*recordSize)
	if n, _ := p.readIndex(index); n < len(index) {
		return wire.Window{}
	}
	for ; i >= 0; i-- {
		if rec := decodeRecord(index[i*recordSize:]); rec.stream == sized {
			return rec.window()
		}
	}
	return wire.Window{}
}

func (p part) readIndex(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	return p.index.ReadAt(b, 0)
}

// find returns the index of the first record for which is returns true, or the number of
// records.
func (p part) find(is func(record) bool) int {
	return sort.Search(int(min(p.records, math.MaxInt32)), func(i int) bool { return is(p.at(i)) })
}

// stretchAt finds the stretch that contains offset. It returns its part, its stream and its
// end, which is always beyond offset.
func (r Reader) stretchAt(offset uint64) (p part, s wire.Stream, stop uint64) {
	next := sort.Search(len(r.parts), func(i int) bool { return r.parts[i].start > offset })
	stop = r.Size
	if next < len(r.parts) {
		stop = min(stop, r.parts[next].start)
	}
	if next == 0 {
		return part{}, wire.Lost, max(stop, offset+1)
	}
	p = r.parts[next-1]
	following := p.find(func(r record) bool { return r.offset > offset })
	if following > 0 {
		s = p.at(following - 1).stream
	} else {
		s = wire.Stdout
	}
	if int64(following) < p.records {
		stop = min(stop, p.at(following).offset)
	}
	return p, s, max(stop, offset+1) // only a corrupt index has its end at or before offset
}

// Stretch returns the start of the segment that contains offset, the stream of the byte there,
// and the end of its stretch, which is always beyond offset.
func (r Reader) Stretch(offset uint64) (segment uint64, s wire.Stream, stop uint64) {
	p, s, stop := r.stretchAt(offset)
	return p.start, s, stop
}

// Read fills p with bytes of one stream from offset. For the stream Lost, n bytes are missing
// and p is untouched; n may then exceed len(p). It returns io.EOF at the end.
func (r Reader) Read(p []byte, offset uint64) (n uint64, s wire.Stream, err error) {
	if offset >= r.Size {
		return 0, wire.Stdout, io.EOF
	}
	part, s, stop := r.stretchAt(offset)
	n = stop - offset
	if s == wire.Lost {
		return n, s, nil
	}
	got, err := part.data.ReadAt(p[:min(n, uint64(len(p)))], int64(offset-part.start))
	if got == 0 && errors.Is(err, io.EOF) { // shorter than the index says
		return n, wire.Lost, nil
	}
	if got > 0 {
		err = nil
	}
	return uint64(got), s, err
}

// Since returns the offset of the first byte printed at t or later, within the precision of the
// index.
func (r Reader) Since(t time.Time) uint64 {
	for _, p := range r.parts {
		i := p.find(func(r record) bool { return r.millis >= millis(t) })
		if int64(i) < p.records {
			return min(max(p.at(i).offset, p.start), r.Size)
		}
	}
	return r.Size
}

// LineStart returns the offset of the start of a line at most back bytes before the end of the
// log. If the line is longer than that, the offset is within the line.
func (r Reader) LineStart(back uint64) uint64 {
	if back >= r.Size-r.Base() {
		return r.Base()
	}
	from := r.Size - back
	p := make([]byte, 4<<10)
	for at := from - 1; at < r.Size; {
		n, s, err := r.Read(p, at)
		if err != nil || n == 0 {
			break
		}
		if s != wire.Lost {
			for i, c := range p[:n] {
				if c == '\n' && at+uint64(i)+1 < r.Size {
					return at + uint64(i) + 1
				}
			}
		}
		at += n
	}
	return from
}
