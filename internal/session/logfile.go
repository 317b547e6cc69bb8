//go:build linux

package session

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
)

// A session's log is two files. log holds every byte the job printed at the
// offset it was printed, so it can be searched with any tool; log.index holds
// one record for every stretch of log: where it starts, when, and from which
// stream. Bytes that found no space are a hole in log and a stretch of their own
// in the index, so that offsets never shift.
const (
	logName    = "log"
	indexName  = "log.index"
	recordSize = 16
	// indexEvery is how often a new stretch begins without a change of stream:
	// the precision with which the log knows times.
	indexEvery = time.Second
	// retryEvery is how often writing is tried again after it failed.
	retryEvery = time.Second
)

// record says that from offset on, bytes are of that stream and were printed at
// that time or later.
type record struct {
	offset uint64
	millis uint64 // since 1970, at most 56 bits
	stream stream
}

func (r record) append(b []byte) []byte {
	return be.AppendUint64(be.AppendUint64(b, r.offset), r.millis<<8|uint64(r.stream))
}

func decodeRecord(p []byte) record {
	low := be.Uint64(p[8:])
	r := record{offset: be.Uint64(p), millis: low >> 8, stream: stream(low & 0xff)}
	if r.stream > lost {
		r.stream = stdout
	}
	return r
}

// logWriter appends to a log. A failed write never fails the caller: the bytes
// are counted as lost, and writing is tried again a little later.
type logWriter struct {
	data, index *os.File
	end         uint64 // offset of the next byte the job prints
	records     int64
	last        record // the last one written
	open        bool   // last is a stretch that more bytes may join
	failed      error  // why the last write failed
	retry       time.Time
	losing      bool
	lostFrom    uint64
	lost        uint64
	limit       uint64 // bytes of log that are kept
	base        uint64 // everything before was dropped
}

func createLog(dir string) (*logWriter, error) {
	const flags = os.O_RDWR | os.O_CREATE | os.O_EXCL
	data, err := os.OpenFile(filepath.Join(dir, logName), flags, 0o600)
	if err != nil {
		return nil, err
	}
	index, err := os.OpenFile(filepath.Join(dir, indexName), flags, 0o600)
	if err != nil {
		data.Close()
		return nil, err
	}
	return &logWriter{data: data, index: index, limit: keepLog}, nil
}

// append takes what the job printed.
func (l *logWriter) append(s stream, p []byte, now time.Time) {
	start := l.end
	l.end += uint64(len(p))
	if l.losing && now.Before(l.retry) {
		l.lost += uint64(len(p))
		return
	}
	n, err := l.write(s, p, start, now)
	if err != nil {
		l.lose(err, start+uint64(n), now)
		l.lost += uint64(len(p) - n)
		return
	}
	l.losing = false
}

func (l *logWriter) write(s stream, p []byte, start uint64, now time.Time) (int, error) {
	if l.losing && l.lostFrom < start {
		if err := l.begin(record{l.lostFrom, millis(now), lost}); err != nil {
			return 0, err
		}
		l.lostFrom = start // recorded; a failure below goes on from here
	}
	if !l.open || l.last.stream != s || millis(now) >= l.last.millis+uint64(indexEvery.Milliseconds()) {
		if err := l.begin(record{start, millis(now), s}); err != nil {
			return 0, err
		}
	}
	return l.data.WriteAt(p, int64(start))
}

func millis(t time.Time) uint64 { return uint64(max(0, t.UnixMilli())) }

// begin writes a record before the bytes it speaks of: bytes without a record
// would be taken for those of the stretch before.
func (l *logWriter) begin(r record) error {
	l.open = false
	_, err := l.index.WriteAt(r.append(nil), l.records*recordSize)
	if err != nil {
		return err
	}
	l.records++
	l.last, l.open = r, true
	return nil
}

func (l *logWriter) lose(err error, from uint64, now time.Time) {
	if !l.losing {
		l.losing, l.lostFrom = true, from
	}
	l.open = false
	l.failed = err
	l.retry = now.Add(retryEvery)
}

// keepLog is how much of a log stays on disk, and trimStep by how much the rest
// is dropped at a time.
const (
	keepLog  = 256 << 20
	trimStep = 16 << 20
)

// trim drops the oldest part of a log that has grown beyond its limit, by making
// a hole of it: offsets stay, the space is freed. Where the file system cannot
// make holes the log keeps growing, which is better than losing its end. Nothing
// from need on is dropped.
func (l *logWriter) trim(need uint64) {
	for l.end-l.base > l.limit+trimStep && l.base+trimStep <= need {
		punch(l.data, l.base, trimStep)
		l.base += trimStep
	}
	// A job that alternates between stdout and stderr byte by byte makes an index
	// larger than its log, so the index has the same bound.
	if size := uint64(l.records) * recordSize; size > l.limit && size%trimStep == 0 {
		punch(l.index, 0, size-l.limit)
	}
}

func punch(f *os.File, offset, length uint64) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.Fallocate(int(fd), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(offset), int64(length))
	})
}

// sync puts the log on disk.
func (l *logWriter) sync() {
	if l.losing && l.lostFrom < l.end {
		// Worth a last attempt: it is how a reader knows that the end is missing.
		if l.begin(record{l.lostFrom, l.last.millis, lost}) == nil {
			_ = l.data.Truncate(int64(l.end))
		}
	}
	for _, f := range []*os.File{l.data, l.index} {
		if err := f.Sync(); err != nil && l.failed == nil {
			l.failed = err
		}
	}
}

func (l *logWriter) close() {
	l.data.Close()
	l.index.Close()
}

// reader reads what has been written so far. It shares the writer's descriptors.
func (l *logWriter) reader() logReader {
	return logReader{data: l.data, index: l.index, size: l.end, base: l.base, records: l.records}
}

// logReader reads a log up to a size. The files may be anything: a job can write
// to its own log.
type logReader struct {
	data, index io.ReaderAt
	size, base  uint64
	records     int64
}

// openLog opens the log in dir as it is now.
func openLog(dir string) (r logReader, closeLog func(), err error) {
	data, err := os.Open(filepath.Join(dir, logName))
	if err != nil {
		return logReader{}, nil, err
	}
	index, err := os.Open(filepath.Join(dir, indexName))
	if err != nil {
		data.Close()
		return logReader{}, nil, err
	}
	r = logReader{data: data, index: index, size: fileSize(data), records: int64(fileSize(index) / recordSize)}
	r.base = min(firstData(data), r.size)
	return r, func() { data.Close(); index.Close() }, nil
}

func fileSize(f *os.File) uint64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return uint64(info.Size())
}

// firstData is where the hole at the start of f ends.
func firstData(f *os.File) uint64 {
	at, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_DATA)
	if err != nil || at < 0 {
		return 0 // no holes known here, or nothing but a hole
	}
	return uint64(at)
}

// stretchAt finds the stretch that holds offset: its stream and where it ends,
// which is always beyond offset.
func (r logReader) stretchAt(offset uint64) (stream, uint64, error) {
	if offset < r.base {
		return lost, r.base, nil
	}
	var failed error
	get := func(i int64) record {
		var p [recordSize]byte
		if _, err := r.index.ReadAt(p[:], i*recordSize); err != nil && failed == nil {
			failed = err
		}
		return decodeRecord(p[:])
	}
	next := sort.Search(int(min(r.records, math.MaxInt32)), func(i int) bool { return get(int64(i)).offset > offset })
	s, stop := stdout, uint64(math.MaxUint64)
	if next > 0 {
		s = get(int64(next - 1)).stream
	}
	if int64(next) < r.records {
		stop = get(int64(next)).offset
	}
	if stop <= offset { // only in an index that is not one
		stop = offset + 1
	}
	return s, stop, failed
}

// read fills p from offset with bytes of one stream. For the stream lost, n
// bytes are missing and p is untouched; n may then exceed len(p). It returns
// io.EOF at the end.
func (r logReader) read(p []byte, offset uint64) (n uint64, s stream, err error) {
	if offset >= r.size {
		return 0, stdout, io.EOF
	}
	s, stop, err := r.stretchAt(offset)
	if err != nil {
		return 0, s, err
	}
	n = min(stop, r.size) - offset
	if s == lost {
		return n, s, nil
	}
	got, err := r.data.ReadAt(p[:min(n, uint64(len(p)))], int64(offset))
	if got == 0 && errors.Is(err, io.EOF) { // shorter than it says
		return n, lost, nil
	}
	if got > 0 {
		err = nil
	}
	return uint64(got), s, err
}

// lineStart is the offset of the start of a line at most back bytes before the
// end of the log; in the middle of a line longer than that.
func (r logReader) lineStart(back uint64) uint64 {
	if back >= r.size-r.base {
		return r.base
	}
	from := r.size - back
	p := make([]byte, 4<<10)
	for at := from - 1; at < r.size; {
		n, s, err := r.read(p, at)
		if err != nil || n == 0 {
			break
		}
		if s != lost {
			for i, c := range p[:n] {
				if c == '\n' && at+uint64(i)+1 < r.size {
					return at + uint64(i) + 1
				}
			}
		}
		at += n
	}
	return from
}

// noSpaceReason says in a few words why a log is incomplete.
func noSpaceReason(err error) string {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return "no space left"
	}
	return err.Error()
}

// reserveSize is what exit.json takes on disk from the start, so that the end of
// a job can be recorded when the disk is full.
const reserveSize = 4 << 10

// reserved is a file with its final space already taken.
type reserved struct {
	f    *os.File
	path string
}

func reserve(path string) (*reserved, error) {
	f, err := os.OpenFile(path+".reserved", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(blank(reserveSize)); err != nil {
		f.Close()
		return nil, err
	}
	return &reserved{f: f, path: path}, nil
}

func blank(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = ' '
	}
	return b
}

// commit puts data, padded with blanks, durably at the reserved path.
func (r *reserved) commit(data []byte) error {
	defer r.f.Close()
	if len(data) > reserveSize {
		return fmt.Errorf("%s would be over %d bytes", r.path, reserveSize)
	}
	if _, err := r.f.WriteAt(append(data, blank(reserveSize-len(data))...), 0); err != nil {
		return err
	}
	if err := r.f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(r.f.Name(), r.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(r.path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// asNoSpace gives err the kind that a full disk has.
func asNoSpace(err error, dir string) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return keyway.Errorf(keyway.NoSpace, "no space left for a session: %w", err).
			Hint("see what is full: df -h %s", dir)
	}
	return err
}
