//go:build linux

package joblog

import (
	"errors"
	"os"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/session/wire"
)

// Writer appends to a log. A failed write does not fail the caller: the bytes count as lost,
// and writing is tried again a little later.
type Writer struct {
	dir      string
	bounds   Bounds
	segments []segment // the last one is written to; never empty
	end      uint64    // offset of the next byte the job prints
	last     record    // the last one written
	open     bool      // more bytes may join the stretch of last
	failed   error     // why the last write failed
	retry    time.Time
	losing   bool
	lostFrom uint64
	window   wire.Window // of the job's terminal, if it has one
	lost     uint64
	hole     uint64 // offset after the last lost stretch that has ended
}

// Create begins the log of a job in dir, which must not have one.
func Create(dir string, bounds Bounds) (*Writer, error) {
	first, err := openSegment(dir, 0, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	return &Writer{dir: dir, bounds: bounds, segments: []segment{first}}, nil
}

// State is the part of a log's state that only its writer knows.
type State struct {
	End, Lost uint64
	Why       string // the reason for which some of it is lost
}

// State returns the log's state.
func (l *Writer) State() State {
	s := State{End: l.end, Lost: l.lost}
	if l.failed != nil {
		s.Why = noSpaceReason(l.failed)
	}
	return s
}

// Capacity returns the bytes of output that the log keeps.
func (l *Writer) Capacity() uint64 { return l.bounds.Segment * uint64(l.bounds.Segments) }

// Base returns the offset of the first byte that the log keeps.
func (l *Writer) Base() uint64 { return l.segments[0].start }

// Moved gives the writer the new path of the log's directory.
func (l *Writer) Moved(dir string) { l.dir = dir }

// Failing reports whether the log cannot be written for now.
func (l *Writer) Failing() bool { return l.losing }

// Lacks reports whether something from an offset on is not in the log.
func (l *Writer) Lacks(offset uint64) bool { return l.losing || offset < l.hole }

// Reopen continues a log where another process has stopped. at is the State of that process.
func Reopen(dir string, bounds Bounds, at State) (*Writer, error) {
	l := &Writer{dir: dir, bounds: bounds, end: at.End, lost: at.Lost}
	if at.Why != "" {
		l.failed = errors.New(at.Why)
	}
	starts, err := segmentStarts(dir)
	for _, start := range starts {
		var next segment
		if next, err = openSegment(dir, start, os.O_RDWR); err != nil {
			break
		}
		l.segments = append(l.segments, next)
	}
	if err == nil && len(l.segments) == 0 {
		err = os.ErrNotExist
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// current returns the segment that is written to.
func (l *Writer) current() *segment { return &l.segments[len(l.segments)-1] }

func (l *Writer) full() bool {
	c := l.current()
	return l.end >= c.start+l.bounds.Segment || c.records >= l.bounds.Records
}

// Append appends output of the job.
func (l *Writer) Append(s wire.Stream, p []byte, now time.Time) {
	for len(p) > 0 {
		room := l.bounds.Segment // in the next segment
		if !l.full() {
			room = l.current().start + l.bounds.Segment - l.end
		}
		piece := p[:min(uint64(len(p)), room)]
		l.take(s, piece, now)
		p = p[len(piece):]
	}
}

// Keeps returns the offset of the first byte that the log will still have after the given
// numbers of bytes and records more.
func (l *Writer) Keeps(bytes uint64, records int64) uint64 {
	c, more := l.current(), 0
	if l.end+bytes > c.start+l.bounds.Segment || c.records+records > l.bounds.Records {
		more = 1 + int(bytes/l.bounds.Segment)
	}
	gone := max(0, len(l.segments)+more-l.bounds.Segments)
	if gone >= len(l.segments) {
		return l.end
	}
	return l.segments[gone].start
}

// take is Append for output that fits into one segment.
func (l *Writer) take(s wire.Stream, p []byte, now time.Time) {
	start := l.end
	n, err := 0, l.failed
	if wait := l.losing && now.Before(l.retry); !wait {
		n, err = l.write(s, p, now)
		if err == nil && l.losing {
			l.losing, l.hole = false, start
		}
		if err != nil {
			l.lose(err, start+uint64(n), now)
		}
	}
	l.end = start + uint64(len(p))
	if err != nil && l.losing {
		l.lost += uint64(len(p) - n)
	}
}

// write writes the bytes that begin at l.end.
func (l *Writer) write(s wire.Stream, p []byte, now time.Time) (int, error) {
	if l.losing && l.lostFrom < l.end {
		if err := l.begin(record{l.lostFrom, millis(now), wire.Lost}); err != nil {
			return 0, err
		}
		l.lostFrom = l.end // recorded; after a failure below, the loss continues from here
	}
	if l.full() {
		if err := l.roll(); err != nil {
			return 0, err
		}
	}
	if !l.open || l.last.stream != s || millis(now) >= l.last.millis+uint64(indexEvery.Milliseconds()) {
		if err := l.begin(record{l.end, millis(now), s}); err != nil {
			return 0, err
		}
	}
	return l.current().data.WriteAt(p, int64(l.end-l.current().start))
}

// roll begins a new segment at l.end. It first makes room for it.
func (l *Writer) roll() error {
	if len(l.segments) >= l.bounds.Segments {
		oldest := l.segments[0]
		l.segments = append([]segment(nil), l.segments[1:]...) // readers have the old slice
		oldest.close()
		path := segmentPath(l.dir, oldest.start)
		_ = os.Remove(path + logSuffix)
		_ = os.Remove(path + indexSuffix)
	}
	next, err := openSegment(l.dir, l.end, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	l.segments = append(l.segments[:len(l.segments):len(l.segments)], next)
	l.open = false
	return nil
}

// begin writes a record before the bytes that it describes: bytes without a record would belong
// to the stretch before.
func (l *Writer) begin(r record) error {
	l.open = false
	c := l.current()
	if _, err := c.index.WriteAt(r.append(nil), c.records*recordSize); err != nil {
		return err
	}
	c.records++
	l.last, l.open = r, true
	if l.window != c.window && r.stream == wire.TTY {
		return l.beginSize(c)
	}
	return nil
}

// beginSize writes the size of the terminal, once for each segment and each change.
func (l *Writer) beginSize(c *segment) error {
	if _, err := c.index.WriteAt(sizeRecord(l.last.offset, l.window).append(nil), c.records*recordSize); err != nil {
		l.open = false
		return err
	}
	c.records++
	c.window = l.window
	return nil
}

// Resize notes the size of the job's terminal from here on.
func (l *Writer) Resize(w wire.Window) {
	if w != l.window {
		l.window, l.open = w, false
	}
}

func (l *Writer) lose(err error, from uint64, now time.Time) {
	if !l.losing {
		l.losing, l.lostFrom = true, from
	}
	l.open = false
	l.failed = err
	l.retry = now.Add(RetryEvery)
}

// Sync puts the log on disk.
func (l *Writer) Sync() {
	if l.losing && l.lostFrom < l.end {
		// Worth a last attempt: without it, a reader does not know that the end is missing.
		if l.begin(record{l.lostFrom, l.last.millis, wire.Lost}) == nil {
			_ = l.current().data.Truncate(int64(l.end - l.current().start))
		}
	}
	for _, s := range l.segments {
		if err := errors.Join(s.data.Sync(), s.index.Sync()); err != nil && l.failed == nil {
			l.failed = err
		}
	}
}

// Close closes the files of the log.
func (l *Writer) Close() {
	for _, s := range l.segments {
		s.close()
	}
}

// Reader reads the bytes that have been written so far. It shares the writer's descriptors.
func (l *Writer) Reader() Reader { return newReader(l.segments, l.end) }

// noSpaceReason returns briefly why a log is incomplete.
func noSpaceReason(err error) string {
	if keyway.IsNoSpace(err) {
		return "no space left"
	}
	return err.Error()
}
