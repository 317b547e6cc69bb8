package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"keyway/internal/jupyter/wire"
	"keyway/test/await"
)

// untilFile is a cell that prints lines until a file exists.
const untilFile = `import os, time
i = 0
while not os.path.exists(NAME):
    print("line", i, flush=True)
    i += 1
    time.sleep(0.001)
print("END", i)`

// inParts is a cell that prints 25 lines after each of 32 files exists. Every 50th line comes with
// a display that is too large for the operating system's buffer. A kernel keeps at most 1,000
// messages for a slow Jupyter server; the cell sends fewer in all.
const inParts = `import os, time
from IPython.display import display
i = 0
for part in range(32):
    while not os.path.exists("part%d" % part):
        time.sleep(0.005)
    for _ in range(25):
        print("line", i, flush=True)
        if i % 50 == 0:
            display("%06d " % i + "x" * 60_000, display_id="d%d" % i)
        i += 1
        time.sleep(0.001)
print("END", i)`

// touch makes a file for which such a cell waits.
func (s service) touch(t *testing.T, name string) {
	t.Helper()
	if code := s.call(t, "PUT", "/api/contents/"+name, map[string]any{"type": "file", "format": "text", "content": ""}, nil); code/100 != 2 {
		t.Fatal(code)
	}
}

// killedOften kills the program 32 times during one cell, also during its start. It checks that no
// line is lost or doubled.
func killedOften(t *testing.T, w *world) {
	k := w.front.kernel(t)
	a := w.front.open(t, k, "", wire.V1)
	id := a.run(inParts, "")
	moments := rand.New(rand.NewPCG(1, 2))
	for last, n := 0, 0; n < 32; {
		pid := w.worker()
		if pid == 0 || pid == last {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		last = pid
		if err := os.WriteFile(filepath.Join(w.dir, fmt.Sprint("part", n)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		n++
		if n == 1 {
			a.line(id, 5)
		}
		time.Sleep(time.Duration(moments.IntN(200)) * time.Millisecond)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatalf("kill %d: %v", n, err)
		}
	}
	<-a.done
	w.idle(t, k)
	b := w.front.open(t, k, a.session, wire.V1)
	lines := everyLine(t, b.ended(id))
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.cells[id]
	if want := (lines + 49) / 50; len(s.display) != want || s.updates != want {
		t.Errorf("%d displays, shown %d times, not %d", len(s.display), s.updates, want)
	}
	for id, text := range s.display {
		if len(text) < 60_000 {
			t.Errorf("%s has %d bytes", id, len(text))
		}
	}
}

// everyLine checks that a cell shows each line once and in order, and nothing else. It returns the
// number of lines.
func everyLine(t *testing.T, got string) (n int) {
	t.Helper()
	for line := range strings.Lines(got) {
		if line == fmt.Sprintf("END %d\n", n) {
			return n
		}
		if line != fmt.Sprintf("line %d\n", n) {
			t.Fatalf("after %d lines: %q", n, line)
		}
		n++
	}
	t.Fatalf("after %d lines: no end", n)
	return n
}

// killBoth kills the program's parent, and waits for the end of both processes: until then, the
// socket answers.
func (w *world) killBoth(t *testing.T) {
	t.Helper()
	child := w.worker()
	if err := syscall.Kill(w.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await.That(t, "the end of both processes", func() bool { return !lives(w.pid) && !lives(child) })
}

// bothKilled kills the program and its parent. It checks that the output says where messages of the
// meantime may be missing.
func bothKilled(t *testing.T, w *world) {
	var started struct{ ID string } // ends with the Jupyter server, which the program ends
	if code := w.stock.call(t, "POST", "/api/kernels", map[string]string{"name": "python3"}, &started); code/100 != 2 {
		t.Fatal(code)
	}
	k := started.ID
	a := w.front.open(t, k, "", wire.V1)
	id := a.run(strings.Replace(untilFile, "NAME", "'both.go'", 1), "")
	a.line(id, 5)
	w.killBoth(t)
	<-a.done
	w.serve(t)
	b := w.front.open(t, k, a.session, wire.V1)
	text := b.until(id, "what was there, and more", func(s *shown) bool {
		_, after, _ := strings.Cut(s.text.String(), notice)
		return strings.Count(after, "\n") > 5
	})
	before, _, _ := strings.Cut(text, notice)
	w.stock.touch(t, "both.go")
	text = b.ended(id)
	if !strings.HasPrefix(text, before+notice) || strings.Count(text, notice) != 1 {
		t.Errorf("it shows %.2000q", text)
	}
	last := -1
	for line := range strings.Lines(strings.Replace(text, notice, "", 1)) {
		var n int
		if _, err := fmt.Sscanf(line, "line %d\n", &n); err == nil {
			if n <= last {
				t.Fatalf("line %d after line %d", n, last)
			}
			last = n
		}
	}
	if lines := strings.Count(before, "line "); lines != strings.Count(before, "\n") || lines < 5 {
		t.Errorf("before the notice: %q", before)
	}
}

const notice = "\n[keyway-jupyter has connected to the kernel again here: what it said in that moment may be missing]\n"
