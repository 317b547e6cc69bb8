//go:build linux

package joblog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"keyway/internal/session"
	"keyway/internal/session/wire"
)

// A session's log is a row of segments, each two files whose name begins with
// the offset of the segment's first byte. NAME.log holds the bytes the job
// printed, so it can be searched with any tool; NAME.index holds one record for
// every stretch of them: where it starts, when, and from which stream. Bytes
// that found no space are a hole between two stretches and a stretch of their
// own in the index, so that offsets never shift.
const (
	logSuffix   = ".log"
	indexSuffix = ".index"
	recordSize  = 16
	// indexEvery is how often a new stretch begins without a change of stream:
	// the precision with which the log knows times.
	indexEvery = time.Second
	// RetryEvery is how often writing is tried again after it failed.
	RetryEvery = time.Second
)

// Bounds are how large a log may become. When a segment is full, or its index
// is, the next one begins and the oldest one is removed before it.
type Bounds struct {
	Segment  uint64 // bytes of output
	Records  int64  // of an index: a job may change streams with every byte
	Segments int
}

// Kept are the bounds of every job's log: 256 MiB of output.
var Kept = Bounds{Segment: 64 << 20, Records: 256 << 10, Segments: 4}

// maxFiles bounds, in files, what is looked at in a session's directory.
const maxFiles = 10_000

// maxSegments bounds how many segments a reader opens: a job can make files.
const maxSegments = 64

// record says that from offset on, bytes are of that stream and were printed at
// that time or later.
type record struct {
	offset uint64
	millis uint64 // since 1970, at most 56 bits
	stream wire.Stream
}

// A record of this stream has in place of the time the size of the job's terminal, in
// which what follows was printed. It is the second of two for one stretch.
const sized wire.Stream = 4

// sizeRecord is such a record.
func sizeRecord(offset uint64, w wire.Window) record {
	return record{offset, uint64(w.Rows)<<16 | uint64(w.Cols), sized}
}

func (r record) window() wire.Window {
	return wire.Window{Rows: uint16(min(r.millis>>16, wire.MaxWindow)), Cols: uint16(min(r.millis&0xffff, wire.MaxWindow))}
}

func (r record) append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, r.offset), r.millis<<8|uint64(r.stream))
}

func decodeRecord(p []byte) record {
	low := binary.BigEndian.Uint64(p[8:])
	r := record{offset: binary.BigEndian.Uint64(p), millis: low >> 8, stream: wire.Stream(low & 0xff)}
	if r.stream > sized {
		r.stream = wire.Stdout
	}
	return r
}

func millis(t time.Time) uint64 { return uint64(max(0, t.UnixMilli())) }

// segmentPath is the path of a segment's files without the suffix. The names sort
// as the offsets do, up to a petabyte.
func segmentPath(dir string, start uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%015d", start))
}

// segment is a part of a log, open.
type segment struct {
	start       uint64
	data, index *os.File
	records     int64
	window      wire.Window // that its index says last; of the writer alone
}

func openSegment(dir string, start uint64, flags int) (segment, error) {
	path := segmentPath(dir, start)
	data, err := session.OpenRegular(path+logSuffix, flags)
	if err != nil {
		return segment{}, err
	}
	index, err := session.OpenRegular(path+indexSuffix, flags)
	if err != nil {
		data.Close()
		return segment{}, err
	}
	return segment{start: start, data: data, index: index, records: int64(fileSize(index) / recordSize)}, nil
}

// OpenData opens what the job has printed into the segment that begins at start.
func OpenData(dir string, start uint64) (*os.File, error) {
	return session.OpenRegular(segmentPath(dir, start)+logSuffix, os.O_RDONLY)
}

func (s segment) close() {
	s.data.Close()
	s.index.Close()
}

func fileSize(f *os.File) uint64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return uint64(info.Size())
}

// segmentStarts are the offsets of the segments in dir, ascending.
func segmentStarts(dir string) ([]uint64, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(maxFiles)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var starts []uint64
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, logSuffix)
		if start, err := strconv.ParseUint(digits, 10, 63); ok && err == nil && segmentPath("", start) == digits {
			starts = append(starts, start)
		}
	}
	sort.Slice(starts, func(i, j int) bool { return starts[i] < starts[j] })
	return starts[max(0, len(starts)-maxSegments):], nil
}
