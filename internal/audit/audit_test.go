package audit

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func newLog(t *testing.T) (*Log, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, path
}

func fill(t *testing.T, l *Log, n int) {
	t.Helper()
	for i := range n {
		if err := l.Append(Event{Event: "sign", Verdict: "allowed", Request: Request{User: fmt.Sprint(i)}}); err != nil {
			t.Fatal(err)
		}
	}
}

func verify(t *testing.T, path string) Report {
	t.Helper()
	r, err := Verify(path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestChain(t *testing.T) {
	l, path := newLog(t)
	fill(t, l, 5)
	l.Close()
	again, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	fill(t, again, 5)
	r := verify(t, path)
	if r.Events != 10 || r.Seq != 10 || r.Torn != 0 || r.Rotated {
		t.Errorf("%+v", r)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if err := l.Append(Event{}); err == nil {
		t.Error("a closed log takes events")
	}
}

func TestTamperingShows(t *testing.T) {
	l, path := newLog(t)
	fill(t, l, 6)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(bytes.TrimSuffix(good, []byte("\n")), []byte("\n"))
	join := func(l ...[]byte) []byte { return bytes.Join(l, nil) }
	for name, bad := range map[string][]byte{
		"a word changed":   bytes.Replace(good, []byte(`"user":"3"`), []byte(`"user":"4"`), 1),
		"a space added":    bytes.Replace(good, []byte(`"user":"3"`), []byte(`"user": "3"`), 1),
		"a line removed":   join(lines[0], lines[1], lines[3], lines[4], lines[5]),
		"two lines turned": join(lines[0], lines[2], lines[1], lines[3], lines[4], lines[5]),
		"a line twice":     join(lines[0], lines[1], lines[1], lines[2]),
		"a line of noise":  join(lines[0], []byte("noise\n"), lines[1]),
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(path); err == nil {
			t.Errorf("%s: not seen", name)
		}
	}
}

func TestTornLine(t *testing.T) {
	for name, rest := range map[string]string{
		"half a line": `{"seq":4,"prev":"00`,
		"zeros":       "\x00\x00\x00\x00",
		"a whole bad": "garbage\n",
	} {
		l, path := newLog(t)
		fill(t, l, 3)
		l.Close()
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, rest)
		f.Close()
		again, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, again, 2)
		again.Close()
		if r := verify(t, path); r.Torn != 1 || r.Events != 6 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestRotation(t *testing.T) {
	l, path := newLog(t)
	l.limit = 32 << 10
	long := strings.Repeat("x", maxField)
	perFile := 0
	for verify := 0; verify < 3; {
		if err := l.Append(Event{Event: "sign", Reason: long, Rule: long, Request: Request{User: long, Comment: long, Program: long, To: long}}); err != nil {
			t.Fatal(err)
		}
		perFile++
		if old, _ := rotated(path); len(old) > verify {
			verify = len(old)
		}
	}
	r := verify(t, path)
	if r.Files != 4 || r.Events != perFile+2*3 || r.Rotated {
		t.Errorf("%+v after %d events", r, perFile)
	}
}

// copyLog returns a log with its files in another directory.
func copyLog(t *testing.T, path string) string {
	t.Helper()
	dir := t.TempDir()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(path), e.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, e.Name()), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, filepath.Base(path))
}

// reads returns the events of the log.
func reads(t *testing.T, path string) (list []Event) {
	t.Helper()
	if err := Read(path, func(e Event) error { list = append(list, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return list
}

// small returns a log of four files of 4 KiB, with the lines that were kept at rotations.
func small(t *testing.T) (*Log, string) {
	l, path := newLog(t)
	l.limit, l.files = 4<<10, 3
	return l, path
}

func flood(t *testing.T, l *Log, n int) {
	t.Helper()
	for i := range n {
		if err := l.Append(Event{Event: "sign", Verdict: Denied, Request: Request{User: fmt.Sprint(i)}}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRefusalsPushNothingOut checks that the log keeps the one allowed use, however many refusals
// follow, and that every missing file is noticed, even after further rotations.
func TestRefusalsPushNothingOut(t *testing.T) {
	l, path := small(t)
	if err := l.Append(Event{Event: "add", Verdict: Allowed, Request: Request{Comment: "me"}}); err != nil {
		t.Fatal(err)
	}
	flood(t, l, 300)
	if err := l.Append(Event{Event: "sign", Verdict: Allowed, Reason: "the abuse"}); err != nil {
		t.Fatal(err)
	}
	flood(t, l, 300)
	r := verify(t, path)
	if !r.Rotated || r.Unsaid || r.Kept != 2 || r.Files != 4 {
		t.Errorf("%+v", r)
	}
	list := reads(t, path)
	if len(list) < 2 || list[0].Comment != "me" || list[1].Reason != "the abuse" || list[1].Seq < 300 {
		t.Errorf("%+v", list[:2])
	}
	for i := range list[1:] {
		if list[i+1].Seq <= list[i].Seq {
			t.Fatalf("event %d follows event %d", list[i+1].Seq, list[i].Seq)
		}
	}
	old, err := rotated(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(old, path, keptPath(path)) {
		for _, more := range []int{0, 1, 120} { // events that follow the removal
			there := copyLog(t, path)
			if err := os.Remove(filepath.Join(filepath.Dir(there), filepath.Base(name))); err != nil {
				t.Fatal(err)
			}
			if name == path && more > 0 {
				continue // a log that has lost its end continues: only a noted hash shows the loss
			}
			if more == 0 {
				if _, err := Verify(there); err == nil {
					t.Errorf("%s: its removal is not seen", name)
				}
				continue
			}
			again, err := Open(there)
			if err != nil {
				t.Fatal(err)
			}
			again.limit, again.files = l.limit, l.files
			flood(t, again, more)
			again.Close()
			if _, err := Verify(there); err == nil {
				t.Errorf("%s: its removal is forgotten after %d events", name, more)
			}
		}
	}
}

// TestKeptLinesAreVouchedFor checks that a change of a kept line is noticed.
func TestKeptLinesAreVouchedFor(t *testing.T) {
	l, path := small(t)
	fill(t, l, 1)
	flood(t, l, 300)
	verify(t, path)
	data, err := os.ReadFile(keptPath(path))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keptPath(path), bytes.Replace(data, []byte(`"user":"0"`), []byte(`"user":"1"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(path); err == nil {
		t.Error("not seen")
	}
}

// TestCrashInRotation checks that the log is sound, and continues, after a crash at any point of a
// rotation.
func TestCrashInRotation(t *testing.T) {
	l, path := small(t)
	fill(t, l, 1)
	flood(t, l, 100) // rotated out soon
	for step := range 6 {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			there := copyLog(t, path)
			c, err := Open(there)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.limit, c.files = l.limit, l.files
			crashAfter(t, c, step)
			if _, err := Verify(there); err != nil && step != 2 { // of a crash there the file is really missing
				t.Errorf("after the crash: %v", err)
			}
			again, err := Open(there)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			again.limit, again.files = l.limit, l.files
			flood(t, again, 300)
			verify(t, there)
			if list := reads(t, there); list[0].Seq != 1 || list[0].Verdict != Allowed {
				t.Errorf("the log begins with %+v", list[0])
			}
		})
	}
}

// crashAfter does as many of the steps of a rotation.
func crashAfter(t *testing.T, l *Log, steps int) {
	t.Helper()
	var r Rotation
	var old, gone []string
	name := ""
	for _, step := range []func() error{
		func() error {
			err := l.write(Event{Event: Rotate})
			name = fmt.Sprintf("%s.%020d", l.path, l.end.seq)
			return err
		},
		func() error { return os.Rename(l.path, name) },
		func() error { return os.WriteFile(l.path, nil, 0o600) },
		func() (err error) {
			if old, err = rotated(l.path); err != nil {
				return err
			}
			gone = old[:max(0, len(old)-l.files)]
			r, err = l.prepare(old, gone, old[len(gone):])
			return err
		},
		func() (err error) {
			if l.file, err = os.OpenFile(l.path, os.O_RDWR|os.O_APPEND, 0); err != nil {
				return err
			}
			if l.end, err = l.before(); err != nil {
				return err
			}
			return l.write(Event{Event: Rotated, Rotation: &r})
		},
	}[:min(steps, 5)] {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLogOfAnEarlierVersion checks that a log of an earlier version, which removed files without a
// record, is sound, and that removals from then on are noticed.
func TestLogOfAnEarlierVersion(t *testing.T) {
	l, path := newLog(t)
	for range 3 {
		fill(t, l, 5)
		l.Close()
		if err := os.Rename(path, fmt.Sprintf("%s.%020d", path, l.end.seq)); err != nil {
			t.Fatal(err)
		}
		var err error
		if l.file, err = os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600); err != nil {
			t.Fatal(err)
		}
		if l.is, err = l.file.Stat(); err != nil {
			t.Fatal(err)
		}
		l.end.size = 0
	}
	fill(t, l, 5)
	old, err := rotated(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(old[0]); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, path); !r.Rotated || !r.Unsaid || r.Events != 15 {
		t.Errorf("%+v", r)
	}
	again, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if r := verify(t, path); !r.Rotated || r.Unsaid || r.Events != 16 {
		t.Errorf("%+v", r)
	}
	if err := os.Remove(old[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(path); err == nil || !strings.Contains(err.Error(), "events 6 to 10 are missing") {
		t.Errorf("%v", err)
	}
}

func TestSeveralWriters(t *testing.T) {
	_, path := newLog(t)
	var wg sync.WaitGroup
	for range 4 {
		l, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for range 2 {
			wg.Go(func() {
				for range 50 {
					if err := l.Append(Event{Event: "sign"}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if r := verify(t, path); r.Events != 400 || r.Torn != 0 {
		t.Errorf("%+v", r)
	}
}

func TestLongTextsAreCut(t *testing.T) {
	l, path := newLog(t)
	if err := l.Append(Event{Event: "sign", Reason: "a\nb\x00", Request: Request{User: strings.Repeat("ü", 1<<17)}}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil || len(data) > 4*maxField || bytes.Count(data, []byte("\n")) != 1 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	verify(t, path)
}

func TestFollow(t *testing.T) {
	l, path := newLog(t)
	fill(t, l, 2)
	ctx, cancel := context.WithCancel(t.Context())
	var seen []uint64
	err := Follow(ctx, path, func(e Event) error {
		seen = append(seen, e.Seq)
		switch e.Seq {
		case 2:
			fill(t, l, 1)
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.rotate()
		case 3:
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.write(Event{Event: "sign"})
		case 6:
			cancel()
		}
		return nil
	})
	if err != nil || fmt.Sprint(seen) != "[1 2 3 4 5 6]" {
		t.Errorf("%v %v", seen, err)
	}
}

func FuzzVerify(f *testing.F) {
	path := filepath.Join(f.TempDir(), "audit.jsonl")
	l, err := Open(path)
	if err != nil {
		f.Fatal(err)
	}
	for range 3 {
		if err := l.Append(Event{Event: "sign"}); err != nil {
			f.Fatal(err)
		}
	}
	l.Close()
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-7])
	// For any content of the file, a log that is opened and written to continues it, and shows
	// every break that it had.
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, before := Verify(path)
		l, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := l.Append(Event{Event: "sign"}); err != nil {
			t.Fatal(err)
		}
		if _, after := Verify(path); before == nil && after != nil {
			t.Fatalf("sound before, then: %v", after)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	l, err := Open(filepath.Join(b.TempDir(), "audit.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for b.Loop() {
		if err := l.Append(Event{Event: "sign", Verdict: "allowed", Request: Request{User: "root", To: "db1"}}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestRemovalOfTheNewestFile checks that the removal of the newest file is noticed by the end of
// the file before it.
func TestRemovalOfTheNewestFile(t *testing.T) {
	l, path := small(t)
	for files := 0; files < 1; {
		flood(t, l, 1)
		old, err := rotated(path)
		if err != nil {
			t.Fatal(err)
		}
		files = len(old)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(path); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("%v", err)
	}
}

// TestUnwrittenIsReported checks the report of events that could not be written and were counted.
func TestUnwrittenIsReported(t *testing.T) {
	l, path := newLog(t)
	fill(t, l, 1)
	for _, n := range []uint64{3, 4} {
		if err := l.Append(Event{Event: Unwritten, Unwritten: n}); err != nil {
			t.Fatal(err)
		}
	}
	if r := verify(t, path); r.Unwritten != 7 || !keeps(Event{Event: Unwritten}) {
		t.Errorf("%+v", r)
	}
}
