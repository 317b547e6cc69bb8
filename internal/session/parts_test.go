//go:build linux

package session

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/unixsock"
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

// The ring must hold the end of what was appended, whatever the sizes.
func TestRing(t *testing.T) {
	for range 200 {
		var r ring
		var want collect
		streams := []stream{}
		limit := ringStart << rand.IntN(3)
		for range rand.IntN(60) {
			s := stdout + stream(rand.IntN(2))
			p := make([]byte, rand.IntN(ringStart))
			for i := range p {
				p[i] = byte(rand.Uint32())
				streams = append(streams, s)
			}
			r.append(s, p, limit)
			_ = want.put(s, p)
		}
		checkRing(t, &r, want.all.Bytes(), streams, limit)
	}
	var many ring
	for i := range 3 * ringMarks {
		many.append(stdout+stream(i%2), []byte{byte(i)}, ringStart)
	}
	if len(many.marks) > ringMarks+ringMarks/2 || many.end-many.start > ringMarks+ringMarks/2 {
		t.Errorf("%d marks for %d bytes", len(many.marks), many.end-many.start)
	}
}

func checkRing(t *testing.T, r *ring, want []byte, streams []stream, limit int) {
	t.Helper()
	if r.end != uint64(len(want)) || len(r.buf) > limit {
		t.Fatalf("end %d of %d, %d bytes in memory", r.end, len(want), len(r.buf))
	}
	if kept := r.end - r.start; kept < min(r.end, uint64(limit)) {
		t.Fatalf("only %d of %d bytes are kept", kept, r.end)
	}
	buf := make([]byte, 1000)
	for at := r.start; at < r.end; {
		n, s := r.read(buf, at)
		if n == 0 || !bytes.Equal(buf[:n], want[at:at+uint64(n)]) || slices.ContainsFunc(streams[at:at+uint64(n)], func(x stream) bool { return x != s }) {
			t.Fatalf("wrong %d bytes at %d", n, at)
		}
		at += uint64(n)
	}
}

func TestWhoWaitsForTheEndIsNotWokenByOutput(t *testing.T) {
	l, err := createLog(t.TempDir(), keptLog)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	tape := newTape(l)
	reader, waiter := tape.newWatcher(true), tape.newWatcher(false)
	woken := func(w *watcher) bool {
		select {
		case <-w.wake:
			return true
		default:
			return false
		}
	}
	tape.append(stdout, []byte("line\n"))
	if !woken(reader) || woken(waiter) {
		t.Error("output woke those who wait for the end, or not those who read it")
	}
	tape.end()
	if !woken(reader) || !woken(waiter) {
		t.Error("the end did not wake all")
	}
}

func TestAViewerWhoseHolderDoesNotAnswerCanBeToldToGo(t *testing.T) {
	dir := t.TempDir()
	l, err := unixsock.Listen(filepath.Join(dir, sockName), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // lets go what reach leaves behind
	signals := newTold()
	signals.c <- unix.SIGTERM
	conn, told, err := reach(dir, hello{}, signals)
	if conn != nil || told != unix.SIGTERM || err != nil {
		t.Errorf("got %v, %v, %v, want SIGTERM", conn, told, err)
	}
}

func TestRenewalsAreBoundedInARowOnly(t *testing.T) {
	now := time.Now()
	var calm, hasty renewals
	for range 10 * maxRenewals {
		now = now.Add(stayed + 1)
		if !calm.another(now) {
			t.Fatal("a viewer is left after many upgrades")
		}
	}
	for range maxRenewals {
		now = now.Add(stayed)
		if !hasty.another(now) {
			t.Fatal("a viewer is left too early")
		}
	}
	if hasty.another(now) {
		t.Error("a viewer looks for ever for a holder that does not stay")
	}
}

func TestSignalsAreNoKeys(t *testing.T) {
	if sig, ok, err := parseSignal("sigterm"); sig != unix.SIGTERM || !ok || err != nil {
		t.Errorf("sigterm: %v %t %v", sig, ok, err)
	}
	if m, err := frameFor("SIGTERM", true, true); err != nil || m.kind() != typeInput {
		t.Errorf("--text SIGTERM: %#v, %v", m, err)
	}
	if _, err := frameFor(strings.Repeat("x", maxData+1), true, true); !keyway.Is(err, keyway.Usage) {
		t.Errorf("a long text: %v", err)
	}
}

// Every goroutine that serves viewers ends when the job has, also those of
// viewers that read nothing.
func TestViewersAreJoined(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	log, err := createLog(dir, keptLog)
	if err != nil {
		t.Fatal(err)
	}
	defer log.close()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	l, err := unixsock.Listen(filepath.Join(dir, sockName), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	tape := newTape(log)
	vs := newViewers(&holder{job: &job{input: writer}, tape: tape}, window{24, 80})
	accepted := make(chan struct{})
	go func() { vs.accept(l); close(accepted) }()

	silent, err := net.Dial("unix", filepath.Join(dir, sockName))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	stuck := attachTo(t, dir, hello{Flags: flagOutput | flagInput})
	defer stuck.close()
	good := attachTo(t, dir, hello{Flags: flagOutput})
	defer good.close()
	if err := stuck.write(input{make([]byte, maxPayload)}); err != nil { // the job does not read it
		t.Fatal(err)
	}
	tape.append(stdout, make([]byte, 8<<20))
	tape.finish()
	vs.end(jobStatus{code: 7})
	var got tally
	if status, err := good.pump(&got); err != nil || status.code != 7 || got.bytes != 8<<20 {
		t.Errorf("%+v, %v, %d bytes", status, err, got.bytes)
	}
	good.close()
	l.Close()
	<-accepted
	vs.job.closeInput()
	vs.wait(50 * time.Millisecond)
	if _, err := stuck.pump(&got); !errors.Is(err, errGone) {
		t.Errorf("a viewer that was dropped is told %v", err)
	}
}

func attachTo(t *testing.T, dir string, h hello) *connection {
	t.Helper()
	c, err := connect(dir, h)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestInterruptible(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	in, err := newInterruptible(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "x"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	if n, err := in.Read(buf); n != 1 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	done := make(chan error)
	go func() { _, err := in.Read(buf); done <- err }()
	in.stop()
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("a read that is stopped: %v", err)
	}
	in.release()
}

func TestProgramMapping(t *testing.T) {
	for line, want := range map[string]bool{
		"00400000-00698000 r-xp 00000000 fe:00 123                                /bin/guest\n": true,
		"00698000-00800000 r--p 00298000 fe:00 123                                /bin/guest\n": true,
		"00800000-00900000 rw-p 00400000 fe:00 123                                /bin/guest\n": false,
		"00400000-00698000 r-xp 00000000 fe:00 123                                /bin/other\n": false,
		"c000000000-c000400000 rw-p 00000000 00:00 0 \n":                                        false,
		"": false, "nonsense /bin/guest": false,
	} {
		if _, _, ok := programMapping(line, "/bin/guest"); ok != want {
			t.Errorf("%q: %t", line, ok)
		}
	}
}

func FuzzProgramMapping(f *testing.F) {
	f.Add("00400000-00623000 r-xp 00000000 fe:00 1 /x/y")
	f.Add("ffffffffffffffff-0 ---p 0 0 0 /x/y")
	f.Fuzz(func(t *testing.T, line string) {
		if _, size, ok := programMapping(line, "/x/y"); ok && size == 0 {
			t.Fatal("an empty mapping")
		}
	})
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		locked, known, exit, same bool
		want                      status
	}{
		{true, true, false, true, running},
		{true, false, false, false, starting},
		{true, true, true, true, finished}, // its holder still serves a viewer
		{false, true, true, false, finished},
		{false, true, false, true, lostIt},
		{false, true, false, false, lostIt},
		{false, false, false, false, lostIt},
	} {
		if got, _ := judge(c.locked, c.known, c.exit, c.same); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestDurationsInTables(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s", 90 * time.Minute: "1h30m", 49 * time.Hour: "2d01h",
	} {
		if got := short(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
