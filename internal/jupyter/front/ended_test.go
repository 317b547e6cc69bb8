package front

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keyway/internal/jupyter/kernel"
	"keyway/internal/jupyter/wire"
	"keyway/test/await"
)

// inMidCell begins a cell that has printed a line, and closes its page. It returns the directory of
// the journals.
func inMidCell(t *testing.T, f *fake) (front *Front, dir string, m wire.Message) {
	t.Helper()
	dir = t.TempDir()
	front, at := f.before(dir)
	page := dial(t, at, "one")
	page.execute("a")
	m = f.ask()
	f.status(m, "busy")
	f.say(m, "iopub", "execute_input", map[string]any{"execution_count": 1, "code": "code"})
	f.say(m, "iopub", "stream", wire.Text{Name: "stdout", Text: "so far\n"})
	page.until("stream")
	_ = page.conn.Close()
	await.That(t, "the page has left", func() bool { return front.find(theKernel).Status().Clients == 0 })
	return front, dir, m
}

const stopped = "so far\n\n[the kernel was stopped here, while this cell ran]\n"

// isIn checks that the notebook's file has the output.
func (f *fake) isIn(want string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := outputs(f.doc); got != want {
		f.t.Errorf("the file has %q, not %q", got, want)
	}
}

// TestStop checks that Stop writes outputs to the file before the kernels end: those of a running
// cell, those of a cell that has just ended and whose page is connected, and, in a new notebook, those
// of a notebook that was removed.
func TestStop(t *testing.T) {
	f := newFake(t)
	front, _, _ := inMidCell(t, f)
	front.Stop(t.Context())
	f.isIn(stopped)

	f = newFake(t)
	front, at := f.before(t.TempDir())
	page := dial(t, at, "one")
	page.execute("a")
	f.run(f.ask(), "hello\n")
	page.until("idle")
	front.Stop(t.Context())
	f.isIn("hello\n")

	f = newFake(t)
	front, _, _ = inMidCell(t, f)
	f.mu.Lock()
	f.tree = map[string]document{} // the notebook is removed
	f.mu.Unlock()
	front.Stop(t.Context())
	f.mu.Lock()
	defer f.mu.Unlock()
	if doc := f.tree["x (outputs kept).ipynb"]; doc == nil || outputs(doc) != stopped {
		t.Errorf("the notebooks are %v", f.tree)
	}
}

// TestStopSearchesLast stops kernels whose notebooks are gone, and one whose notebook is there. It
// checks that this one is written before any search, after which the program may be killed.
func TestStopSearchesLast(t *testing.T) {
	f := newFake(t)
	front, dir, _ := inMidCell(t, f)
	for n := range 9 {
		id := fmt.Sprintf("%08d", n) + theKernel[8:]
		if err := os.CopyFS(filepath.Join(dir, id), os.DirFS(filepath.Join(dir, theKernel))); err != nil {
			t.Fatal(err)
		}
		k, err := kernel.Read(id, front.options(id))
		if err != nil {
			t.Fatal(err)
		}
		front.mu.Lock()
		front.kernels[id], front.paths[id] = k, []string{"gone.ipynb"}
		front.mu.Unlock()
	}
	f.mu.Lock()
	f.tree, f.seen = map[string]document{"dir/x.ipynb": newDocument()}, nil
	f.mu.Unlock()
	front.Stop(t.Context())
	f.mu.Lock()
	defer f.mu.Unlock()
	written := slices.IndexFunc(f.seen, func(r *http.Request) bool { return r.Method == http.MethodPut })
	search := slices.IndexFunc(f.seen, func(r *http.Request) bool { return r.URL.Query().Get("type") == "directory" })
	if written < 0 || search < written {
		t.Errorf("request %d of %d is the first search, and request %d writes", search, len(f.seen), written)
	}
	if got := outputs(f.tree["dir/x.ipynb"]); got != stopped {
		t.Errorf("the notebook has %q", got)
	}
}

// TestKernelGoneInMidCell checks a kernel that ends in mid-cell while its websocket stays open: the
// next request for the list of kernels notices it.
func TestKernelGoneInMidCell(t *testing.T) {
	f := newFake(t)
	front, dir, _ := inMidCell(t, f)
	s := httptest.NewServer(front)
	defer s.Close()
	kernels := func() string {
		_, data := get(t, strings.TrimPrefix(s.URL, "http://"), "keyway/kernels")
		return strings.TrimSpace(string(data))
	}
	if got := kernels(); !strings.Contains(got, theKernel) {
		t.Errorf("a kernel that runs is not told of: %s", got)
	}
	f.mu.Lock()
	f.gone = true
	f.mu.Unlock()
	if got := kernels(); got != "[]" {
		t.Errorf("a kernel that is gone is told of: %s", got)
	}
	f.isIn(stopped)
	if _, err := os.Stat(filepath.Join(dir, theKernel)); !os.IsNotExist(err) {
		t.Errorf("its journal: %v", err)
	}
}

// TestEndedMeanwhile ends the kernel and the program at once, as the end of the machine does. It
// checks that the next start writes the file or, if the file was saved in between, a copy beside
// it.
func TestEndedMeanwhile(t *testing.T) {
	for name, c := range map[string]struct {
		saved time.Time
		room  bool
		taken int    // number of copies that exist already
		want  string // in the notebook
		kept  string // the copy that gets the output
	}{
		"saved before":         {saved: time.Now().Add(-time.Hour), want: stopped},
		"saved after":          {saved: time.Now().Add(time.Hour), kept: "x (outputs kept).ipynb"},
		"saved after, twice":   {saved: time.Now().Add(time.Hour), taken: 1, kept: "x (outputs kept 2).ipynb"},
		"edited by several":    {saved: time.Now().Add(-time.Hour), room: true},
		"nobody knows how old": {kept: "x (outputs kept).ipynb"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			front, dir, _ := inMidCell(t, f)
			if c.room {
				front.stepAside("dir/x.ipynb")
			}
			front.Close()
			f.mu.Lock()
			f.none, f.modified = true, ""
			if c.taken > 0 {
				f.copies["x (outputs kept).ipynb"] = newDocument()
			}
			if !c.saved.IsZero() {
				f.modified = c.saved.UTC().Format(time.RFC3339Nano)
			}
			f.mu.Unlock()
			again, _ := f.before(dir)
			if err := again.Resume(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.isIn(c.want)
			f.mu.Lock()
			for name, doc := range f.copies {
				if got := outputs(doc); name == c.kept && got != stopped || name != c.kept && got != "" {
					t.Errorf("%s has %q", name, got)
				}
			}
			if n := len(f.copies); n != c.taken && c.kept == "" || c.kept != "" && (n != c.taken+1 || f.copies[c.kept] == nil) {
				t.Errorf("%d copies", n)
			}
			f.mu.Unlock()
			if _, err := os.Stat(filepath.Join(dir, theKernel)); !os.IsNotExist(err) {
				t.Errorf("its journal: %v", err)
			}
		})
	}
}

// TestEndedWhileTheFileCannotBeWritten ends a kernel while the server refuses to save, and keeps
// refusing during the next start. It checks that the start after that writes the output.
func TestEndedWhileTheFileCannotBeWritten(t *testing.T) {
	f := newFake(t)
	front, dir, _ := inMidCell(t, f)
	f.mu.Lock()
	f.gone, f.refuse = true, true
	f.mu.Unlock()
	front.endRecords(t.Context())
	front.Close()
	f.restart(dir)
	f.isIn("")
	f.mu.Lock()
	f.refuse = false
	f.mu.Unlock()
	f.restart(dir)
	f.isIn(stopped)
	if _, err := os.Stat(filepath.Join(dir, theKernel)); !os.IsNotExist(err) {
		t.Errorf("its journal: %v", err)
	}
}

// restart replaces the server by one without a kernel, and starts and stops the program. The
// notebook was last saved an hour ago.
func (f *fake) restart(dir string) {
	f.t.Helper()
	f.mu.Lock()
	f.none, f.modified = true, time.Now().Add(-time.Hour).UTC().Format(time.RFC3339Nano)
	f.mu.Unlock()
	next, _ := f.before(dir)
	if err := next.Resume(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	next.Close()
}

// TestEndedWhileTheRecordCannotBeRead makes a journal unreadable for one start. It checks that the
// journal stays and that the next start writes the notebook.
func TestEndedWhileTheRecordCannotBeRead(t *testing.T) {
	for name, pattern := range map[string]string{"the paths": "notebook", "a segment": "????????.??????"} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			front, dir, _ := inMidCell(t, f)
			front.Close()
			files, err := filepath.Glob(filepath.Join(dir, theKernel, pattern))
			if err != nil || len(files) == 0 {
				t.Fatalf("no such file: %v", err)
			}
			aside := filepath.Join(dir, "aside")
			if err := errors.Join(os.Rename(files[0], aside), os.Symlink(files[0], files[0])); err != nil { // a symbolic link to itself
				t.Fatal(err)
			}
			f.restart(dir)
			f.isIn("")
			if err := os.Rename(aside, files[0]); err != nil {
				t.Fatalf("the record is gone: %v", err)
			}
			f.restart(dir)
			f.isIn(stopped)
			if _, err := os.Stat(filepath.Join(dir, theKernel)); !os.IsNotExist(err) {
				t.Errorf("its journal: %v", err)
			}
		})
	}
}

// TestPathsAreNotedLater checks that the paths of a kernel's notebooks are stored at the second
// attempt if the first fails. The start after the kernel's end needs them.
func TestPathsAreNotedLater(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	inTheWay := filepath.Join(dir, theKernel, "notebook")
	if err := os.MkdirAll(filepath.Join(inTheWay, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	front, at := f.before(dir)
	f.refuse = true
	page := dial(t, at, "one")
	page.execute("a")
	f.run(f.ask(), "hello\n")
	page.until("idle")
	if err := os.RemoveAll(inTheWay); err != nil {
		t.Fatal(err)
	}
	if _, err := front.sessions(t.Context()); err != nil {
		t.Fatal(err)
	}
	front.Close()
	f.mu.Lock()
	f.refuse = false
	f.mu.Unlock()
	f.restart(dir)
	f.isIn("hello\n")
}

// TestNoPathYet checks a cell that ends while the server does not answer the request for its
// sessions.
func TestNoPathYet(t *testing.T) {
	f := newFake(t)
	front, _, m := inMidCell(t, f)
	k := front.find(theKernel)
	front.mu.Lock()
	clear(front.paths)
	front.mu.Unlock()
	f.mu.Lock()
	f.mute = true
	f.mu.Unlock()
	if front.write(t.Context(), k, false) {
		t.Error("there is no use in trying again without a path")
	}
	f.mu.Lock()
	f.mute = false
	f.mu.Unlock()
	f.run(m, "")
	await.That(t, "the cell's end", func() bool { return k.Status().Running == 0 })
	if !front.write(t.Context(), k, false) {
		t.Error("not written with the path")
	}
	f.isIn("so far\n")
}

// TestUnclearNotebook checks two notebooks of one kernel with the same cell. No request tells which
// of them was run, so neither file gets the output until the kernel ends.
func TestUnclearNotebook(t *testing.T) {
	f := newFake(t)
	f.twin = true
	front, _, m := inMidCell(t, f)
	k := front.find(theKernel)
	f.run(m, "")
	await.That(t, "the cell's end", k.Unwritten)
	if !front.write(t.Context(), k, false) || !k.Unwritten() {
		t.Error("written to one of two, or to be tried again")
	}
	f.isIn("")
	if !front.write(t.Context(), k, true) || k.Unwritten() {
		t.Error("not written when the kernel ended")
	}
	f.isIn("so far\n")
}

// TestSaveWithoutSessions checks a page that saves a notebook without the outputs that were written
// to it in the meantime, while the server does not answer the request for its sessions. The outputs
// then count as unwritten, and a reader of the notebook sees them.
func TestSaveWithoutSessions(t *testing.T) {
	f := newFake(t)
	front, _, m := inMidCell(t, f)
	k := front.find(theKernel)
	f.run(m, "")
	await.That(t, "the cell's end", func() bool { return k.Status().Running == 0 })
	await.That(t, "the file", func() bool { return !k.Unwritten() })
	f.isIn("so far\n")
	f.mu.Lock()
	f.mute = true
	f.mu.Unlock()
	s := httptest.NewServer(front)
	defer s.Close()
	at := strings.TrimPrefix(s.URL, "http://")
	stale := document{"type": "notebook", "content": newDocument()}
	if code, _ := do(t, http.MethodPut, at, "api/contents/dir/x.ipynb", stale); code != http.StatusOK {
		t.Fatalf("saved: %d", code)
	}
	f.isIn("")
	if !k.Unwritten() {
		t.Error("the outputs count as written")
	}
	if _, data := get(t, at, "api/contents/dir/x.ipynb"); !strings.Contains(string(data), "so far") {
		t.Errorf("a reader has %s", data)
	}
}

// TestServerHangs checks that a server that never answers one request for a notebook does not delay
// the files of other kernels without bound.
func TestServerHangs(t *testing.T) {
	f := newFake(t)
	front, _, _ := inMidCell(t, f)
	front.writeTime = 100 * time.Millisecond
	hangs := make(chan struct{})
	f.mu.Lock()
	f.onRead = func(int) { <-hangs }
	f.mu.Unlock()
	defer close(hangs)
	written := make(chan bool, 1)
	k := front.find(theKernel)
	go func() { written <- front.write(t.Context(), k, false) }()
	select {
	case done := <-written:
		if done {
			t.Error("it is not to be tried again")
		}
	case <-time.After(time.Minute):
		t.Error("it waits for the server after a minute")
	}
}

// TestEndedWhileAnotherSaves checks a kernel that ends while another client saves the notebook,
// once or during every attempt to write it. Such a save does not count as one after the kernel's
// end.
func TestEndedWhileAnotherSaves(t *testing.T) {
	for name, c := range map[string]struct {
		saves int
		want  string // in the notebook before the next start
	}{
		"once":    {saves: 1, want: stopped},
		"each":    {saves: maxChanges, want: ""},
		"at last": {saves: maxChanges - 1, want: stopped},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			front, dir, _ := inMidCell(t, f)
			f.mu.Lock()
			f.gone = true
			before := f.reads
			f.onRead = func(n int) {
				if n -= before; n%2 == 0 && n <= 2*c.saves { // the second read of an attempt
					f.modified = time.Now().UTC().Format(time.RFC3339Nano)
				}
			}
			f.mu.Unlock()
			front.endRecords(t.Context())
			front.Close()
			f.isIn(c.want)
			f.mu.Lock()
			f.none = true
			f.mu.Unlock()
			next, _ := f.before(dir)
			if err := next.Resume(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.isIn(stopped)
			if _, err := os.Stat(filepath.Join(dir, theKernel)); !os.IsNotExist(err) {
				t.Errorf("its journal: %v", err)
			}
		})
	}
}

// TestUnreadableNotebook checks two notebooks of one kernel, one of which cannot be read. The other
// is written, and the log names the unreadable one.
func TestUnreadableNotebook(t *testing.T) {
	f := newFake(t)
	f.twin, f.shut = true, true
	front, _, m := inMidCell(t, f)
	k := front.find(theKernel)
	f.run(m, "")
	await.That(t, "the cell's end", func() bool { return k.Status().Running == 0 })
	if front.write(t.Context(), k, false) {
		t.Error("there is no use in trying the unreadable one again")
	}
	f.isIn("so far\n")
	front.mu.Lock()
	defer front.mu.Unlock()
	if front.failed["dir/x.ipynb"] != "" || !strings.Contains(front.failed["dir/y.ipynb"], "403") {
		t.Errorf("not written: %v", front.failed)
	}
}

// TestOldRecord checks the journal of a kernel that ended days ago, with a notebook that cannot be
// written. The journal is old if both times, of its last write and of the first failure, are old
// enough.
func TestOldRecord(t *testing.T) {
	days := func(n int) time.Time { return time.Now().Add(-time.Duration(n) * 24 * time.Hour) }
	for name, c := range map[string]struct {
		ended time.Time
		tried time.Time // of the first failure; zero: none yet
		stays bool
	}{
		"29 days":                     {days(29), days(29), true},
		"31 days":                     {days(31), days(31), false},
		"not tried yet":               {days(31), time.Time{}, true},
		"a clock without a battery":   {time.Unix(1000, 0), days(1), true},
		"a clock that was ahead":      {days(-400), days(31), true},
		"it was ahead at the attempt": {days(31), days(-400), true},
	} {
		f := newFake(t)
		front, dir, _ := inMidCell(t, f)
		f.mu.Lock()
		f.gone, f.refuse = true, true
		f.mu.Unlock()
		front.endRecords(t.Context())
		front.Close()
		files, err := filepath.Glob(filepath.Join(dir, theKernel, "*.*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no journal: %v", err)
		}
		for _, name := range files {
			if err := os.Chtimes(name, c.ended, c.ended); err != nil {
				t.Fatal(err)
			}
		}
		if mark := filepath.Join(dir, theKernel, "unwritten"); !c.tried.IsZero() {
			if err := os.WriteFile(mark, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(mark, c.tried, c.tried); err != nil {
				t.Fatal(err)
			}
		}
		f.mu.Lock()
		f.none, f.modified = true, c.ended.Add(-time.Hour).UTC().Format(time.RFC3339Nano)
		f.mu.Unlock()
		next, _ := f.before(dir)
		if err := next.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, theKernel)); os.IsNotExist(err) == c.stays {
			t.Errorf("%s: the journal: %v", name, err)
		}
	}
}
