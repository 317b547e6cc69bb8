//go:build linux

package joblog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"keyway/internal/session/wire"
)

// collect gathers streams apart, with gaps as their size in bytes.
type collect struct {
	streams [3]bytes.Buffer
	all     bytes.Buffer
	gaps    uint64
}

func (c *collect) Put(s wire.Stream, p []byte) error {
	c.streams[s].Write(p)
	c.all.Write(p)
	return nil
}

func (c *collect) Picture([]byte) error { return nil }

func (c *collect) Gap(n uint64) error { c.gaps += n; return nil }

func TestLogKeepsStreamsApartAndKnowsTimes(t *testing.T) {
	dir := t.TempDir()
	l, err := Create(dir, Kept)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	now := time.UnixMilli(1_700_000_000_000)
	var want collect
	for i := range 1000 {
		s := wire.Stdout + wire.Stream(rand.IntN(2))
		p := fmt.Appendf(nil, "line %d\n", i)
		l.Append(s, p, now)
		_ = want.Put(s, p)
		now = now.Add(time.Duration(rand.IntN(50)) * time.Millisecond)
	}
	var got collect
	if end, err := Copy(dir, 0, &got); err != nil || end != l.end {
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
	r := l.Reader()
	from := r.LineStart(100)
	if _, err := r.CopyTo(&tail, from); err != nil || l.end-from > 100 || !bytes.HasPrefix(tail.all.Bytes(), []byte("line ")) {
		t.Errorf("the tail is %q, %v", tail.all.String(), err)
	}
	if r.LineStart(l.end) != 0 || r.LineStart(1<<62) != 0 {
		t.Error("more than all is not all")
	}
}

// sizeOf returns what a session's log takes on disk, in bytes.
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

// TestALogIsRotated checks that a log stays within its bounds and ends as the output does,
// whatever the job prints.
func TestALogIsRotated(t *testing.T) {
	const segment, records = 10_000, 50
	bounds := Bounds{Segment: segment, Records: records, Segments: 4}
	most := uint64(bounds.Segments * (segment + records*recordSize))
	for name, step := range map[string]func(i int) (wire.Stream, int){
		"large pieces":      func(int) (wire.Stream, int) { return wire.TTY, 2*segment + 7 },
		"one byte a stream": func(i int) (wire.Stream, int) { return wire.Stdout + wire.Stream(i%2), 1 },
		"lines":             func(int) (wire.Stream, int) { return wire.Stdout, 100 },
	} {
		dir := t.TempDir()
		l, err := Create(dir, bounds)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		var want bytes.Buffer
		now := time.UnixMilli(1_700_000_000_000)
		for i := range 2000 {
			s, n := step(i)
			p := bytes.Repeat([]byte{byte('a' + i%26)}, n)
			want.Write(p)
			l.Append(s, p, now)
			now = now.Add(time.Millisecond)
			if i%100 == 0 && sizeOf(t, dir) > most {
				t.Fatalf("%s: %d bytes on disk, more than %d", name, sizeOf(t, dir), most)
			}
		}
		var got collect
		if end, err := Copy(dir, 0, &got); err != nil || end != l.end || l.end != uint64(want.Len()) {
			t.Errorf("%s: to %d of %d, %v", name, end, l.end, err)
		}
		if got.gaps == 0 || !bytes.Equal(got.all.Bytes(), want.Bytes()[got.gaps:]) {
			t.Errorf("%s: %d bytes are gone, and the rest is not as it was", name, got.gaps)
		}
		if _, err := l.Reader().CopyTo(&got, l.end-5); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestALogKnowsWhatCameSince(t *testing.T) {
	l, err := Create(t.TempDir(), Bounds{Segment: 100, Records: 1000, Segments: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	began := time.UnixMilli(1_700_000_000_000)
	for i := range 60 {
		l.Append(wire.Stdout, []byte("0123456789"), began.Add(time.Duration(i)*time.Minute))
	}
	r := l.Reader()
	for minute, want := range map[int]uint64{-5: 300, 0: 300, 30: 300, 45: 450, 59: 590, 60: 600, 100: 600} {
		if got := r.Since(began.Add(time.Duration(minute) * time.Minute)); got != want {
			t.Errorf("minute %d: offset %d, want %d", minute, got, want)
		}
	}
}

// FuzzLog checks that arbitrary bytes can be read as a log within its bounds, because a job can
// write to its own log.
func FuzzLog(f *testing.F) {
	record := func(offset, millis uint64, s wire.Stream) []byte { return record{offset, millis, s}.append(nil) }
	f.Add([]byte("some output\n"), slices.Concat(record(0, 1, wire.Stdout), record(4, 2, wire.Stderr), record(6, 3, wire.Lost), record(8, 9, wire.TTY)), uint64(0), uint64(6))
	f.Add([]byte("not sorted"), slices.Concat(record(9, 1, wire.Stdout), record(4, 2, wire.Stderr), record(1<<63, 3, wire.Lost)), uint64(3), uint64(1<<62))
	f.Add([]byte("cut off"), record(1, 1, wire.Stdout)[:7], uint64(100), uint64(2))
	f.Add([]byte{}, []byte{}, uint64(0), uint64(0))
	f.Fuzz(func(t *testing.T, data, index []byte, from, second uint64) {
		second %= 1 << 20 // a gap between segments, or an overlap
		at := func(start uint64) part {
			return part{start, bytes.NewReader(data), bytes.NewReader(index), int64(len(index) / recordSize)}
		}
		r := Reader{parts: []part{at(3), at(3 + second)}, Size: 3 + second + uint64(len(data))}
		var got collect
		end, err := r.CopyTo(&got, from)
		if err != nil {
			t.Fatal(err)
		}
		if shown := uint64(got.all.Len()) + got.gaps; end < r.Size || from < r.Size && shown != r.Size-from {
			t.Fatalf("%d bytes from %d to %d of %d", shown, from, end, r.Size)
		}
		if at := r.LineStart(from); at > r.Size {
			t.Fatalf("a line at %d of %d", at, r.Size)
		}
		if at := r.Since(time.UnixMilli(int64(from % 1000))); at > r.Size {
			t.Fatalf("an offset of %d of %d", at, r.Size)
		}
	})
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	for _, want := range []record{{}, {1, 2, wire.Stderr}, {1<<64 - 1, 1<<56 - 1, wire.Lost}} {
		if got := decodeRecord(want.append(nil)); got != want {
			t.Errorf("%+v became %+v", want, got)
		}
	}
}
