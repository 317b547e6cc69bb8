//go:build linux

package session

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// collect gathers streams apart, with gaps as their size in bytes.
type collect struct {
	streams [3]bytes.Buffer
	all     bytes.Buffer
	gaps    uint64
}

func (c *collect) put(s stream, p []byte) error {
	c.streams[s].Write(p)
	c.all.Write(p)
	return nil
}

func (c *collect) picture([]byte) error { return nil }

func (c *collect) gap(n uint64) error { c.gaps += n; return nil }

func TestLogKeepsStreamsApartAndKnowsTimes(t *testing.T) {
	dir := t.TempDir()
	l, err := createLog(dir, keptLog)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	now := time.UnixMilli(1_700_000_000_000)
	var want collect
	for i := range 1000 {
		s := stdout + stream(rand.IntN(2))
		p := fmt.Appendf(nil, "line %d\n", i)
		l.append(s, p, now)
		_ = want.put(s, p)
		now = now.Add(time.Duration(rand.IntN(50)) * time.Millisecond)
	}
	var got collect
	if end, err := copyLog(dir, 0, &got); err != nil || end != l.end {
		t.Fatalf("up to %d of %d: %v", end, l.end, err)
	}
	for s := range want.streams {
		if !bytes.Equal(want.streams[s].Bytes(), got.streams[s].Bytes()) {
			t.Errorf("stream %d is not as it was", s)
		}
	}
	if !bytes.Equal(want.all.Bytes(), got.all.Bytes()) {
		t.Error("the order is not as it was")
	}
	// From the middle, and a start of a line near the end.
	var tail collect
	r := l.reader()
	from := r.lineStart(100)
	if _, err := r.copyTo(&tail, from); err != nil || l.end-from > 100 || !bytes.HasPrefix(tail.all.Bytes(), []byte("line ")) {
		t.Errorf("the tail is %q, %v", tail.all.String(), err)
	}
	if r.lineStart(l.end) != 0 || r.lineStart(1<<62) != 0 {
		t.Error("more than all is not all")
	}
}

// sizeOf is what a session's log takes on disk, in bytes.
func sizeOf(t *testing.T, dir string) (size uint64) {
	t.Helper()
	for _, suffix := range []string{logSuffix, indexSuffix} {
		files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			size += uint64(info.Size())
		}
	}
	return size
}

// Whatever a job prints, its log stays within its bounds and ends as the output
// does.
func TestALogIsRotated(t *testing.T) {
	const segment, records = 10_000, 50
	bounds := logBounds{segment: segment, records: records, segments: 4}
	most := uint64(bounds.segments * (segment + records*recordSize))
	for name, step := range map[string]func(i int) (stream, int){
		"large pieces":      func(int) (stream, int) { return terminal, 2*segment + 7 },
		"one byte a stream": func(i int) (stream, int) { return stdout + stream(i%2), 1 },
		"lines":             func(int) (stream, int) { return stdout, 100 },
	} {
		dir := t.TempDir()
		l, err := createLog(dir, bounds)
		if err != nil {
			t.Fatal(err)
		}
		defer l.close()
		var want bytes.Buffer
		now := time.UnixMilli(1_700_000_000_000)
		for i := range 2000 {
			s, n := step(i)
			p := bytes.Repeat([]byte{byte('a' + i%26)}, n)
			want.Write(p)
			l.append(s, p, now)
			now = now.Add(time.Millisecond)
			if i%100 == 0 && sizeOf(t, dir) > most {
				t.Fatalf("%s: %d bytes on disk, more than %d", name, sizeOf(t, dir), most)
			}
		}
		var got collect
		if end, err := copyLog(dir, 0, &got); err != nil || end != l.end || l.end != uint64(want.Len()) {
			t.Errorf("%s: to %d of %d, %v", name, end, l.end, err)
		}
		if got.gaps == 0 || !bytes.Equal(got.all.Bytes(), want.Bytes()[got.gaps:]) {
			t.Errorf("%s: %d bytes are gone, and the rest is not as it was", name, got.gaps)
		}
		if _, err := l.reader().copyTo(&got, l.end-5); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestALogKnowsWhatCameSince(t *testing.T) {
	l, err := createLog(t.TempDir(), logBounds{segment: 100, records: 1000, segments: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	began := time.UnixMilli(1_700_000_000_000)
	for i := range 60 {
		l.append(stdout, []byte("0123456789"), began.Add(time.Duration(i)*time.Minute))
	}
	r := l.reader()
	for minute, want := range map[int]uint64{-5: 300, 0: 300, 30: 300, 45: 450, 59: 590, 60: 600, 100: 600} {
		if got := r.since(began.Add(time.Duration(minute) * time.Minute)); got != want {
			t.Errorf("minute %d: offset %d, want %d", minute, got, want)
		}
	}
}

// A log may be anything: the job can write to it.
func FuzzLog(f *testing.F) {
	record := func(offset, millis uint64, s stream) []byte { return record{offset, millis, s}.append(nil) }
	f.Add([]byte("some output\n"), slices.Concat(record(0, 1, stdout), record(4, 2, stderr), record(6, 3, lost), record(8, 9, terminal)), uint64(0), uint64(6))
	f.Add([]byte("not sorted"), slices.Concat(record(9, 1, stdout), record(4, 2, stderr), record(1<<63, 3, lost)), uint64(3), uint64(1<<62))
	f.Add([]byte("cut off"), record(1, 1, stdout)[:7], uint64(100), uint64(2))
	f.Add([]byte{}, []byte{}, uint64(0), uint64(0))
	f.Fuzz(func(t *testing.T, data, index []byte, from, second uint64) {
		second %= 1 << 20 // a gap between segments, or an overlap
		at := func(start uint64) part {
			return part{start, bytes.NewReader(data), bytes.NewReader(index), int64(len(index) / recordSize)}
		}
		r := logReader{parts: []part{at(3), at(3 + second)}, size: 3 + second + uint64(len(data))}
		var got collect
		end, err := r.copyTo(&got, from)
		if err != nil {
			t.Fatal(err)
		}
		if shown := uint64(got.all.Len()) + got.gaps; end < r.size || from < r.size && shown != r.size-from {
			t.Fatalf("%d bytes from %d to %d of %d", shown, from, end, r.size)
		}
		if at := r.lineStart(from); at > r.size {
			t.Fatalf("a line at %d of %d", at, r.size)
		}
		if at := r.since(time.UnixMilli(int64(from % 1000))); at > r.size {
			t.Fatalf("an offset of %d of %d", at, r.size)
		}
	})
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	for _, want := range []record{{}, {1, 2, stderr}, {1<<64 - 1, 1<<56 - 1, lost}} {
		if got := decodeRecord(want.append(nil)); got != want {
			t.Errorf("%+v became %+v", want, got)
		}
	}
}
