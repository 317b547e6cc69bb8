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

// A session's log is a sequence of segments. Each is two files whose names begin with the
// offset of the segment's first byte. NAME.log has the bytes that the job printed, so any tool
// can search it. NAME.index has a record for each stretch of them: its offset, time and stream.
// Bytes that found no space are a hole in NAME.log and a stretch of their own in the index, so
// that offsets never shift.
const (
	logSuffix   = ".log"
	indexSuffix = ".index"
	recordSize  = 16
	// indexEvery is the longest stretch without a change of stream: the precision of the log's
	// times.
	indexEvery = time.Second
	// RetryEvery is the interval at which a failed write is tried again.
	RetryEvery = time.Second
)

// Bounds bound the size of a log. When a segment or its index is full, the oldest segment is
// removed and a new one begins.
type Bounds struct {
	Segment  uint64 // bytes of output
	Records  int64  // of an index: the stream may change with every byte
	Segments int
}

// Kept are the bounds of every job's log: 256 MiB of output.
var Kept = Bounds{Segment: 64 << 20, Records: 256 << 10, Segments: 4}

// maxFiles bounds the files that are looked at in a session's directory.
const maxFiles = 10_000

// maxSegments bounds the segments that a reader opens: a job can make files.
const maxSegments = 64

// record says that the bytes from offset on belong to stream and were printed at the given time
// or later.
type record struct {
	offset uint64
	millis uint64 // since 1970, at most 56 bits
	stream wire.Stream
}

// A record of this stream holds the size of the job's terminal instead of a time. It is the
// second of two records for one stretch.
const sized wire.Stream = 4

// sizeRecord returns a record of a terminal's size.
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

// segmentPath returns the path of a segment's files without the suffix. Up to a petabyte, the
// names sort as the offsets do.
func segmentPath(dir string, start uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%015d", start))
}

// segment is an open part of a log.
type segment struct {
	start       uint64
	data, index *os.File
	records     int64
	window      wire.Window // the last in its index; only the writer uses it
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

// OpenData opens the data file of the segment that begins at start.
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

// segmentStarts returns the offsets of the segments in dir, ascending.
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
