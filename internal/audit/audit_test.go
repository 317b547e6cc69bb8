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
		if err := l.Append(Event{Event: "sign", Verdict: "allowed", User: fmt.Sprint(i)}); err != nil {
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
		if err := l.Append(Event{Event: "sign", Reason: long, Rule: long, User: long, Comment: long, Program: long, To: long}); err != nil {
			t.Fatal(err)
		}
		perFile++
		if old, _ := rotated(path); len(old) > verify {
			verify = len(old)
		}
	}
	r := verify(t, path)
	if r.Files != 4 || r.Events != perFile || r.Rotated {
		t.Errorf("%+v after %d events", r, perFile)
	}
	old, err := rotated(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(old[0]); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, path); !r.Rotated {
		t.Errorf("%+v", r)
	}
	if err := os.Remove(old[2]); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(path); err == nil {
		t.Error("a file missing in the middle is not seen")
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
	if err := l.Append(Event{Event: "sign", User: strings.Repeat("ü", 1<<17), Reason: "a\nb\x00"}); err != nil {
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
		case 4:
			cancel()
		}
		return nil
	})
	if err != nil || fmt.Sprint(seen) != "[1 2 3 4]" {
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
	// Whatever is in the file, a log that is opened and written to continues it,
	// and what was broken before shows no worse than before.
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
		if err := l.Append(Event{Event: "sign", Verdict: "allowed", User: "root", To: "db1"}); err != nil {
			b.Fatal(err)
		}
	}
}
