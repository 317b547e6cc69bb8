//go:build linux

package session

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// logWriter appends to a log. A failed write never fails the caller: the bytes
// are counted as lost, and writing is tried again a little later.
type logWriter struct {
	dir      string
	bounds   logBounds
	segments []segment // the last one is written to; never empty
	end      uint64    // offset of the next byte the job prints
	last     record    // the last one written
	open     bool      // last is a stretch that more bytes may join
	failed   error     // why the last write failed
	retry    time.Time
	losing   bool
	lostFrom uint64
	window   window // of the job's terminal, if it has one
	lost     uint64
	hole     uint64 // offset after the last stretch that is lost and ended
}

func createLog(dir string, bounds logBounds) (*logWriter, error) {
	first, err := openSegment(dir, 0, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	return &logWriter{dir: dir, bounds: bounds, segments: []segment{first}}, nil
}

// logState is what only the writer of a log knows of it.
type logState struct {
	end, lost uint64
	why       string // why some of it is lost
}

// state is the log's now.
func (l *logWriter) state() logState {
	s := logState{end: l.end, lost: l.lost}
	if l.failed != nil {
		s.why = noSpaceReason(l.failed)
	}
	return s
}

// capacity is how many bytes of output the log keeps.
func (l *logWriter) capacity() uint64 { return l.bounds.segment * uint64(l.bounds.segments) }

// base is the offset of the first byte that the log keeps.
func (l *logWriter) base() uint64 { return l.segments[0].start }

// moved says where the log's directory is to be found from now on.
func (l *logWriter) moved(dir string) { l.dir = dir }

// failing reports whether the log cannot be written for now.
func (l *logWriter) failing() bool { return l.losing }

// lacks reports whether something from an offset on is not in the log.
func (l *logWriter) lacks(offset uint64) bool { return l.losing || offset < l.hole }

// reopenLog goes on with a log where another process has stopped.
func reopenLog(dir string, bounds logBounds, at logState) (*logWriter, error) {
	l := &logWriter{dir: dir, bounds: bounds, end: at.end, lost: at.lost}
	if at.why != "" {
		l.failed = errors.New(at.why)
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
		l.close()
		return nil, err
	}
	return l, nil
}

// current is the segment that is written to.
func (l *logWriter) current() *segment { return &l.segments[len(l.segments)-1] }

func (l *logWriter) full() bool {
	c := l.current()
	return l.end >= c.start+l.bounds.segment || c.records >= l.bounds.records
}

// append takes what the job printed.
func (l *logWriter) append(s stream, p []byte, now time.Time) {
	for len(p) > 0 {
		room := l.bounds.segment // the next segment's
		if !l.full() {
			room = l.current().start + l.bounds.segment - l.end
		}
		piece := p[:min(uint64(len(p)), room)]
		l.take(s, piece, now)
		p = p[len(piece):]
	}
}

// keeps is the offset of the first byte that is still there after so many more, with
// so many records.
func (l *logWriter) keeps(bytes uint64, records int64) uint64 {
	c, more := l.current(), 0
	if l.end+bytes > c.start+l.bounds.segment || c.records+records > l.bounds.records {
		more = 1 + int(bytes/l.bounds.segment)
	}
	gone := max(0, len(l.segments)+more-l.bounds.segments)
	if gone >= len(l.segments) {
		return l.end
	}
	return l.segments[gone].start
}

// take is append for what fits into one segment.
func (l *logWriter) take(s stream, p []byte, now time.Time) {
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

// write writes what begins at l.end.
func (l *logWriter) write(s stream, p []byte, now time.Time) (int, error) {
	if l.losing && l.lostFrom < l.end {
		if err := l.begin(record{l.lostFrom, millis(now), lost}); err != nil {
			return 0, err
		}
		l.lostFrom = l.end // recorded; a failure below goes on from here
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

// roll begins a new segment at l.end, and makes room for it first.
func (l *logWriter) roll() error {
	if len(l.segments) >= l.bounds.segments {
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

// begin writes a record before the bytes it speaks of: bytes without a record
// would be taken for those of the stretch before.
func (l *logWriter) begin(r record) error {
	l.open = false
	c := l.current()
	if _, err := c.index.WriteAt(r.append(nil), c.records*recordSize); err != nil {
		return err
	}
	c.records++
	l.last, l.open = r, true
	if l.window != c.window && r.stream == terminal {
		return l.beginSize(c)
	}
	return nil
}

// beginSize writes the size of the terminal, once for each segment and change.
func (l *logWriter) beginSize(c *segment) error {
	if _, err := c.index.WriteAt(sizeRecord(l.last.offset, l.window).append(nil), c.records*recordSize); err != nil {
		l.open = false
		return err
	}
	c.records++
	c.window = l.window
	return nil
}

// resize says what size the job's terminal has from here on.
func (l *logWriter) resize(w window) {
	if w != l.window {
		l.window, l.open = w, false
	}
}

func (l *logWriter) lose(err error, from uint64, now time.Time) {
	if !l.losing {
		l.losing, l.lostFrom = true, from
	}
	l.open = false
	l.failed = err
	l.retry = now.Add(retryEvery)
}

// sync puts the log on disk.
func (l *logWriter) sync() {
	if l.losing && l.lostFrom < l.end {
		// Worth a last attempt: it is how a reader knows that the end is missing.
		if l.begin(record{l.lostFrom, l.last.millis, lost}) == nil {
			_ = l.current().data.Truncate(int64(l.end - l.current().start))
		}
	}
	for _, s := range l.segments {
		if err := errors.Join(s.data.Sync(), s.index.Sync()); err != nil && l.failed == nil {
			l.failed = err
		}
	}
}

func (l *logWriter) close() {
	for _, s := range l.segments {
		s.close()
	}
}

// reader reads what has been written so far. It shares the writer's descriptors.
func (l *logWriter) reader() logReader { return newReader(l.segments, l.end) }

// noSpaceReason says in a few words why a log is incomplete.
func noSpaceReason(err error) string {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return "no space left"
	}
	return err.Error()
}
