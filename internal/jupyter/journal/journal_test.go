package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"keyway/internal/jupyter/wire"
)

const parent = `{"msg_id":"req","session":"page","msg_type":"execute_request"}`

func ask(id, code string) wire.Message {
	m := wire.New("page", []byte("{}"), "shell", "execute_request", map[string]any{"code": code, "silent": false})
	m.Head.ID = id
	m.Header = fmt.Appendf(nil, `{"msg_id":%q,"session":"page","msg_type":"execute_request"}`, id)
	m.Metadata = []byte(`{"cellId":"cell-` + id + `"}`)
	return m
}

func said(kind string, content any) wire.Message {
	return wire.New("kernel", []byte(parent), "iopub", kind, content)
}

func printed(text string) wire.Message { return said("stream", wire.Text{Name: "stdout", Text: text}) }

func status(state string) wire.Message {
	return said("status", map[string]string{"execution_state": state})
}

func replied() wire.Message {
	return wire.New("kernel", []byte(parent), "shell", "execute_reply", map[string]string{"status": "ok"})
}

func open(t *testing.T, dir string, l Limits) *Journal {
	t.Helper()
	j, err := Open(dir, l, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Close)
	return j
}

func begin(t *testing.T, j *Journal, id string) *Execution {
	t.Helper()
	e, err := j.Begin(ask(id, "print()"))
	if err != nil || e == nil {
		t.Fatal(e, err)
	}
	appendAll(t, e, status("busy"), said("execute_input", map[string]any{"execution_count": 7}))
	return e
}

func appendAll(t *testing.T, e *Execution, ms ...wire.Message) {
	t.Helper()
	for _, m := range ms {
		if err := e.Append(m); err != nil {
			t.Fatal(err)
		}
	}
}

// shown returns the text of an execution, and the kinds of its other messages.
func shown(t *testing.T, e *Execution) string {
	t.Helper()
	s, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var b strings.Builder
	for m, err := range s.Messages() {
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := m.Stream(); ok {
			if m.Origin.ID == "" || m.Head.Session != "kernel" {
				t.Errorf("text with the parent %q and the session %q", m.Origin.ID, m.Head.Session)
			}
			b.WriteString(text.Text)
		} else if m.Head.Type != "execute_input" {
			b.WriteString("<" + m.Head.Type + ">")
		}
	}
	if e.Replied != (s.Reply != nil) || e.Idle != (s.Idle != nil) || e.Asking != (s.Prompt != nil) {
		t.Errorf("memory and disk differ: %v %v, %v %v, %v %v", e.Replied, s.Reply, e.Idle, s.Idle, e.Asking, s.Prompt)
	}
	return b.String()
}

// TestSurvivesAKill checks that another Open of the directory, as after a kill, finds all records.
func TestSurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Default)
	e := begin(t, j, "req")
	var want strings.Builder
	for i := range 100 {
		line := fmt.Sprintf("line %d\n", i)
		want.WriteString(line)
		appendAll(t, e, printed(line))
		if i == 50 {
			want.WriteString("<display_data>")
			appendAll(t, e, said("display_data", map[string]any{"data": map[string]string{"text/plain": "x"}}))
		}
		if i%33 == 0 { // all appended records are there each time
			again := open(t, dir, Default).Find("req")
			if got := shown(t, again); got != want.String() {
				t.Fatalf("after %d lines: %q", i, got)
			}
			if again.Session != "page" || again.Cell != "cell-req" || again.Count != 7 || again.Code != Sum("print()") || again.Finished() {
				t.Errorf("read again: %+v", again)
			}
		}
	}
	appendAll(t, e, replied(), status("idle"))
	again := open(t, dir, Default).Find("req")
	if got := shown(t, again); got != want.String() || !again.Finished() || !again.Replied {
		t.Errorf("at the end: %+v", again)
	}
	if code, err := again.Source(); code != "print()" || err != nil {
		t.Error(code, err)
	}
}

// TestTornRecord checks that a kill or a full disk damages the last record only, and that more
// can follow.
func TestTornRecord(t *testing.T) {
	dir := t.TempDir()
	e := begin(t, open(t, dir, Default), "req")
	appendAll(t, e, printed("one\n"), printed("two\n"))
	path := e.path(0)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	second := len(whole) - len(Mark{}.record().append(nil))
	first := second - len(textRecord("stdout", "two\n").append(nil))
	for cut := first; cut < len(whole); cut++ {
		for _, again := range []bool{false, true} {
			if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
				t.Fatal(err)
			}
			j, err := Open(dir, Default, again)
			if err != nil {
				t.Fatal(err)
			}
			e := j.Find("req")
			appendAll(t, e, printed("three\n"))
			want := "one\nthree\n"
			if cut >= second && !again { // messages that come again are not kept twice
				want = "one\ntwo\nthree\n"
			}
			if got := shown(t, e); got != want {
				t.Fatalf("cut at %d of %d, again %v: %q", cut, len(whole), again, got)
			}
			j.Close()
		}
	}
}

// TestLongOutputStaysOnDisk checks which messages stay on disk while clients get them: outputs of more
// than longOutput, without buffers, on a disk that can be written. They equal those in memory, when they
// are queued and when they are shown again, also after their files were replaced and removed.
func TestLongOutputStaysOnDisk(t *testing.T) {
	display := func(size int) wire.Message {
		return said("display_data", map[string]any{"data": map[string]string{"image/png": strings.Repeat("Q", size)}})
	}
	buffers := display(2 << 20)
	buffers.Buffers = [][]byte{[]byte("x")}
	encoded := func(m wire.Message) string {
		var b strings.Builder
		if err := m.Write(&b, wire.V1); err != nil {
			t.Error(err)
		}
		return b.String()
	}
	for name, c := range map[string]struct {
		m    wire.Message
		full bool // the disk
		long bool
	}{
		"short":        {m: display(longOutput - 1000)},
		"long":         {m: display(longOutput + 1), long: true},
		"longer":       {m: display(5 << 20), long: true},
		"with buffers": {m: buffers},
		"text":         {m: printed(strings.Repeat("x", 2<<20))},
		"a full disk":  {m: display(2 << 20), full: true},
	} {
		t.Run(name, func(t *testing.T) {
			j := open(t, t.TempDir(), Default)
			e := begin(t, j, "req")
			appendAll(t, e, printed("before"))
			if c.full {
				j.failed, j.why = time.Now().Add(time.Hour), errors.New("the disk is full")
			}
			want := encoded(c.m)
			queued := e.Queue(c.m)
			if (queued.Long != nil) != c.long || queued.Head != c.m.Head || queued.Size() != c.m.Size() {
				t.Errorf("in a file: %v; %+v", queued.Long != nil, queued.Head)
			}
			if err := j.Flush(Mark{1, 1}); (err != nil) != c.full {
				t.Error(err)
			}
			j.failed = time.Time{}
			appendAll(t, e, printed("after"), replied(), status("idle"))
			s, err := e.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var again []string
			for m, err := range s.InPlace() {
				if err != nil {
					t.Fatal(err)
				}
				if (m.Long != nil) != ((c.long || c.full) && m.Head.Type == "display_data") {
					t.Errorf("again, %s is in a file: %v", m.Head.Type, m.Long != nil)
				}
				if m.Head.Type == "display_data" {
					again = append(again, encoded(m))
				}
			}
			if name != "text" && (len(again) != 1 || again[0] != want) {
				t.Errorf("shown again, it is %d messages", len(again))
			}
			j.Remove(e)
			if got := encoded(queued); got != want {
				t.Errorf("what was queued has %d bytes, not %d", len(got), len(want))
			}
		})
	}
}

// TestTornLongOutput checks that a long output whose bytes on disk have changed is noticed before a
// client gets any of it.
func TestTornLongOutput(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Default)
	e := begin(t, j, "req")
	appendAll(t, e, said("display_data", map[string]any{"data": map[string]string{"image/png": strings.Repeat("Q", 3<<20)}}))
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, name := range files {
		data, err := os.ReadFile(name)
		if at := bytes.Index(data, []byte("QQQQ")); err == nil && at > 0 {
			data[at+2<<20]++
			err = os.WriteFile(name, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = nil
	for m, bad := range s.InPlace() {
		if err = bad; bad == nil && m.Head.Type == "display_data" {
			t.Error("it is shown")
		}
	}
	if !errors.Is(err, errTorn) {
		t.Error(err)
	}
}

// TestLargeMessages checks that large messages are written before their commit.
func TestLargeMessages(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Default)
	e := begin(t, j, "req")
	text := strings.Repeat("é\tx\n", 300_000)
	e.Queue(printed(text))
	e.Queue(said("display_data", map[string]any{"data": map[string]string{"image/png": strings.Repeat("QUFB", 500_000)}}))
	e.Queue(printed("end"))
	// The program is killed before the commit: the messages come again, and must not be kept twice.
	j, err := Open(dir, Default, true)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	e = j.Find("req")
	if got := shown(t, e); got != "" {
		t.Errorf("without a commit, %d bytes are there", len(got))
	}
	e.Queue(printed(text))
	e.Queue(said("display_data", map[string]any{"data": map[string]string{"image/png": strings.Repeat("QUFB", 500_000)}}))
	e.Queue(printed("end"))
	if err := j.Flush(Mark{5, 5}); err != nil {
		t.Fatal(err)
	}
	appendAll(t, e, replied(), status("idle"))
	j.Close()
	if j, err = Open(dir, Default, true); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	e = j.Find("req")
	if got := shown(t, e); got != text+"<display_data>end" || e.Mark != (Mark{5, 5}) {
		t.Errorf("%d bytes, not %d; %v", len(got), len(text), e.Mark)
	}
	if n := j.Size(); n > int64(len(text))+2_100_000 {
		t.Errorf("%d bytes are kept", n)
	}
}

// TestMarksStay checks that the journal knows the mark of the last write even after records were
// left out, merged or moved.
func TestMarksStay(t *testing.T) {
	dir := t.TempDir()
	small := Limits{Segment: 4 << 10, Head: 1, Kernel: 16 << 10, Executions: 10}
	j := open(t, dir, small)
	e := begin(t, j, "req")
	for i := range 200 {
		e.Queue(printed(fmt.Sprintf("%d %s\n", i, strings.Repeat("x", 500))))
		mark := Mark{int64(i + 1), uint32(i)}
		if err := j.Flush(mark); err != nil {
			t.Fatal(err)
		}
		again, err := Open(dir, small, true)
		if err != nil {
			t.Fatal(err)
		}
		if got := again.Marks(); len(got) != 1 || got[0] != mark || again.Find("req").Finished() {
			t.Fatalf("after %d: %v", i, got)
		}
		if got, want := shown(t, again.Find("req")), shown(t, e); got != want {
			t.Fatalf("after %d: %q, not %q", i, got, want)
		}
		again.Close()
	}
	if !strings.Contains(shown(t, e), "left out") {
		t.Error("nothing was left out")
	}
	e.Queue(status("idle"))
	if err := j.Flush(Mark{7, 7}); err != nil {
		t.Fatal(err)
	}
	if got := open(t, dir, small).Find("req"); got.Mark != (Mark{7, 7}) || !got.Finished() {
		t.Errorf("at the end: %+v", got)
	}
}

func TestSilentRequestsAreNotKept(t *testing.T) {
	j := open(t, t.TempDir(), Default)
	for _, content := range []map[string]any{{"code": "x", "silent": true}, {"code": "x", "store_history": false}} {
		if e, err := j.Begin(wire.New("page", nil, "shell", "execute_request", content)); e != nil || err != nil {
			t.Errorf("%v: %v, %v", content, e, err)
		}
	}
	if e, err := j.Begin(wire.New("page", nil, "shell", "kernel_info_request", map[string]any{})); e != nil || err != nil {
		t.Errorf("%v, %v", e, err)
	}
}

// TestCellIDs checks which ids count as the id of a notebook's cell.
func TestCellIDs(t *testing.T) {
	j := open(t, t.TempDir(), Default)
	for id, want := range map[string]string{
		"aaa": "aaa", "0f3c-4_A": "0f3c-4_A", strings.Repeat("x", 64): strings.Repeat("x", 64),
		"": "", strings.Repeat("x", 65): "", "a b": "", "é": "",
		"vscode-notebook-cell:/home/me/x.ipynb#W0sZmlsZQ%3D%3D": "", "vscode-notebook-cell://ssh-remote%2Btrain/x.ipynb#X10sdnNjb2Rl": "",
	} {
		m := ask(fmt.Sprint("req-", len(j.Executions())), "1")
		m.Metadata = fmt.Appendf(nil, `{"cellId":%q}`, id)
		if e, err := j.Begin(m); err != nil || e.Cell != want {
			t.Errorf("%q: %q, %v", id, e.Cell, err)
		}
	}
}

// TestBarsAreFolded checks that progress bars of eight hours stay small on disk, while the cell
// runs and after its end.
func TestBarsAreFolded(t *testing.T) {
	small := Limits{Segment: 32 << 10, Head: 16, Kernel: 256 << 20, Executions: 100}
	j := open(t, t.TempDir(), small)
	e := begin(t, j, "req")
	for i := range 5_000 {
		if err := e.Append(said("stream", wire.Text{Name: "stderr", Text: fmt.Sprintf("\r%3d%%|%-20s| %d/5000", i/50, strings.Repeat("#", i/250), i)})); err != nil {
			t.Fatal(err)
		}
		if j.Size() > 2*small.Segment {
			t.Fatalf("%d bytes after %d updates", j.Size(), i)
		}
	}
	appendAll(t, e, said("stream", wire.Text{Name: "stderr", Text: "\n"}), status("idle"))
	if got := shown(t, e); !strings.HasSuffix(got, "4999/5000\n") || j.Size() > 2000 {
		t.Errorf("%d bytes: %q", j.Size(), got)
	}
}

// TestClearedAndUpdated checks that loops that clear their output or update a display stay small on
// disk.
func TestClearedAndUpdated(t *testing.T) {
	small := Limits{Segment: 32 << 10, Head: 16, Kernel: 256 << 20, Executions: 100}
	picture := func(kind, id string, i int) wire.Message {
		return said(kind, map[string]any{"data": map[string]string{"image/png": strings.Repeat("A", 5000) + fmt.Sprint(i)},
			"transient": map[string]string{"display_id": id}})
	}
	for name, step := range map[string]func(i int) []wire.Message{
		"cleared with the next": func(i int) []wire.Message {
			return []wire.Message{said("clear_output", map[string]bool{"wait": true}), picture("display_data", "", i)}
		},
		"cleared at once": func(i int) []wire.Message {
			return []wire.Message{said("clear_output", map[string]bool{"wait": false}), printed("x"), picture("display_data", "", i)}
		},
		"updated": func(i int) []wire.Message { return []wire.Message{picture("update_display_data", "a", i)} },
	} {
		j := open(t, t.TempDir(), small)
		e := begin(t, j, "req")
		appendAll(t, e, picture("display_data", "a", 0))
		for i := range 100 {
			appendAll(t, e, step(i)...)
			if j.Size() > 4*small.Segment {
				t.Fatalf("%s: %d bytes after %d", name, j.Size(), i)
			}
		}
		appendAll(t, e, status("idle"))
		if got := shown(t, e); strings.Count(got, "<") > 3 {
			t.Errorf("%s: %q", name, got)
		}
		if again := open(t, j.dir, small).Find("req"); again.Count != 7 || !again.Finished() || shown(t, again) != shown(t, e) {
			t.Errorf("%s: read again: %+v", name, again)
		}
	}
}

// TestMiddleIsLeftOut checks that an output over the limit loses its middle, and says so.
func TestMiddleIsLeftOut(t *testing.T) {
	limits := Limits{Segment: 8 << 10, Head: 2, Kernel: 64 << 10, Executions: 100}
	j := open(t, t.TempDir(), limits)
	e := begin(t, j, "req")
	n := 0
	for ; n < 10_000; n++ {
		appendAll(t, e, printed(fmt.Sprintf("line %d\n", n)))
		if j.Size() > limits.Kernel+2*limits.Segment {
			t.Fatalf("%d bytes after %d lines", j.Size(), n)
		}
	}
	appendAll(t, e, replied(), status("idle"))
	got := shown(t, e)
	if !strings.HasPrefix(got, "line 0\nline 1\n") || !strings.HasSuffix(got, fmt.Sprintf("line %d\n", n-1)) || strings.Count(got, "left out") != 1 {
		t.Errorf("%.100q … %q", got, got[len(got)-100:])
	}
	if again := open(t, j.dir, limits).Find("req"); shown(t, again) != got || again.Count != 7 {
		t.Error("read again, it differs")
	}
	// Many finished executions: the oldest lose their outputs, and say so.
	for i := range 20 {
		e := begin(t, j, fmt.Sprint("more", i))
		for range 20 {
			appendAll(t, e, printed(strings.Repeat("x", 999)+"\n"))
		}
		appendAll(t, e, replied(), status("idle"))
	}
	if j.Size() > limits.Kernel {
		t.Errorf("%d bytes", j.Size())
	}
	if got := shown(t, j.Find("more0")); !strings.Contains(got, "left out") {
		t.Errorf("%.100q", got)
	}
	if got := shown(t, j.Find("more19")); len(got) != 20_000 {
		t.Errorf("%d bytes of the last", len(got))
	}
}

// TestSnapshotStays checks that a snapshot does not change while the execution continues and its
// files are rewritten.
func TestSnapshotStays(t *testing.T) {
	j := open(t, t.TempDir(), Limits{Segment: 4 << 10, Head: 2, Kernel: 64 << 10, Executions: 10})
	e := begin(t, j, "req")
	for i := range 500 {
		appendAll(t, e, printed(fmt.Sprintf("%d\n", i)))
	}
	before := shown(t, e)
	s, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 3_000 {
		appendAll(t, e, printed(fmt.Sprintf("more %d\n", i)))
	}
	var got strings.Builder
	for m, err := range s.Messages() {
		if err != nil {
			t.Fatal(err)
		}
		text, _ := m.Stream()
		got.WriteString(text.Text)
	}
	if got.String() != before {
		t.Errorf("%d bytes became %d", len(before), got.Len())
	}
	for range s.Messages() {
		break // a caller that stops early gets no further messages
	}
}

// TestRestartIsTold checks that the output has a notice at the place of a restart.
func TestRestartIsTold(t *testing.T) {
	j := open(t, t.TempDir(), Default)
	e := begin(t, j, "req")
	appendAll(t, e, printed("a"))
	if err := e.Restarted(); err != nil {
		t.Fatal(err)
	}
	appendAll(t, e, printed("b"), status("idle"))
	if got := shown(t, e); got != "a"+restartText+"b" {
		t.Errorf("%q", got)
	}
}

func TestPrompt(t *testing.T) {
	j := open(t, t.TempDir(), Default)
	e := begin(t, j, "req")
	appendAll(t, e, wire.New("kernel", []byte(parent), "stdin", "input_request", map[string]any{"prompt": "name?", "password": false}))
	if again := open(t, j.dir, Default).Find("req"); !again.Asking {
		t.Error("the question is forgotten")
	}
	shown(t, e)
	if err := e.Answered(); err != nil {
		t.Fatal(err)
	}
	shown(t, e)
	if again := open(t, j.dir, Default).Find("req"); again.Asking {
		t.Error("the answer is forgotten")
	}
}

func TestFold(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"plain\nlines\n":                "plain\nlines\n",
		"a\rb\rc":                       "a\rc",
		"x\nlong one\rshort\n":          "x\nshortone\n",
		"x\nlong one\rshort":            "x\nshortone\rshort",
		"x\nab\rcd\ref":                 "x\nef",
		"x\n10%\r20%\r":                 "x\n20%\r",
		"x\r\ny\r\n":                    "x\r\ny\r\n",
		"x\nüü\rö\n":                    "x\nöü\n",
		"x\n\x1b[31mred\rgreener\n":     "x\ngreener\n",
		"x\n\x1b[31mvery red\rgreen\n":  "x\n\x1b[31mvery red\rgreen\n",
		"x\n\x1b[31m1\x1b[0m\r\x1b[1m2": "x\n\x1b[1m2",
	} {
		if got := fold(in); got != want {
			t.Errorf("%q became %q, not %q", in, got, want)
		}
	}
}

// seen returns the visible text by a simple interpretation of carriage returns, for comparison.
func seen(s string) string {
	var lines []string
	for line := range strings.SplitSeq(s, "\n") {
		row, at := []rune{}, 0
		for _, r := range line {
			if r == '\r' {
				at = 0
				continue
			}
			if at < len(row) {
				row[at] = r
			} else {
				row = append(row, r)
			}
			at++
		}
		lines = append(lines, string(row))
	}
	return strings.Join(lines, "\n")
}

// TestFoldShowsTheSame checks that folding parts of a text does not change the visible text,
// wherever the text was divided.
func TestFoldShowsTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		var s strings.Builder
		for range r.IntN(20) {
			s.WriteString([]string{"\r", "\n", "a", "bc", "ü", "def"}[r.IntN(6)])
		}
		cut := r.IntN(s.Len() + 1)
		if got := fold(s.String()[:cut]) + fold(s.String()[cut:]); strings.ToValidUTF8(seen(got), "?") != strings.ToValidUTF8(seen(s.String()), "?") && !strings.ContainsRune(got, '\uFFFD') {
			t.Fatalf("%q, cut at %d, became %q", s.String(), cut, got)
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(append(textRecord("stdout", "x").append(nil), gapRecord(5).append(nil)...))
	f.Add(messageRecord(output, printed("y")).append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		var again []byte
		var records []outline
		size, _ := readAll(bytes.NewReader(data), func(r record) error {
			again = r.append(again)
			records = append(records, r.outline())
			r.text()
			r.gap()
			return nil
		})
		if int(size) > len(data) {
			t.Fatalf("%d of %d bytes", size, len(data))
		}
		compact(records)
	})
}

func TestOpenOfAnotherDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"notes.txt", "00000001.x", "00000002.000000.new", "1.2"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "00000003.000000"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if j := open(t, dir, Default); len(j.Executions()) != 0 {
		t.Errorf("%d executions", len(j.Executions()))
	}
}

// TestUpdatesOfOthers checks that one execution updates the outputs of another, also after that
// one's end and after a restart.
func TestUpdatesOfOthers(t *testing.T) {
	j := open(t, t.TempDir(), Default)
	show := func(kind, text string) wire.Message {
		return said(kind, map[string]any{"data": map[string]string{"text/plain": text}, "transient": map[string]string{"display_id": "d"}})
	}
	e := begin(t, j, "req")
	appendAll(t, e, show("display_data", "one"), status("idle"))
	if err := e.WasWritten(true); err != nil {
		t.Fatal(err)
	}
	other := begin(t, j, "other")
	for i, text := range []string{"two", "three"} {
		m := show("update_display_data", text)
		m.Origin.ID = other.ID
		if all := j.Updates(m); len(all) != 1 || all[0].ID != "req" {
			t.Fatalf("%s is of %v", text, all)
		}
		j.Find("req").QueueUpdate(m)
		if err := j.Flush(Mark{}); err != nil {
			t.Fatal(err)
		}
		j = open(t, j.dir, Default)
		if e := j.Find("req"); e.Written || strings.Count(shown(t, e), "<update_display_data>") != i+1 {
			t.Errorf("written %v, it shows %s", e.Written, shown(t, e))
		}
	}
}

// TestLateOutput checks the output of a thread after the end of its execution: it counts as
// unwritten.
func TestLateOutput(t *testing.T) {
	j := open(t, t.TempDir(), Default)
	e := begin(t, j, "req")
	appendAll(t, e, printed("one"), status("idle"))
	for _, text := range []string{"two", "three"} {
		if err := e.WasWritten(true); err != nil {
			t.Fatal(err)
		}
		appendAll(t, e, printed(text))
		if again := open(t, j.dir, Default).Find("req"); e.Written || again.Written || !strings.Contains(shown(t, again), text) {
			t.Errorf("written %v, %v; it shows %s", e.Written, again.Written, shown(t, again))
		}
	}
}

// TestARequestTwice checks a request that is sent twice: one execution has the outputs of both
// runs. It ends with the second run, even if the second request came after the end of the first
// run.
func TestARequestTwice(t *testing.T) {
	dir := t.TempDir()
	again := begin(t, open(t, dir, Default), "req")
	appendAll(t, again, printed("one"), replied(), status("idle"))
	if _, err := again.j.Begin(ask("req", "print()")); err != nil {
		t.Fatal(err)
	}
	for _, e := range []*Execution{again, open(t, dir, Default).Find("req")} {
		if got := shown(t, e); got != "one" || e.Finished() || e.Replied || e.Running || e.Sent {
			t.Errorf("before the second run: it shows %s, %+v", got, e.State)
		}
	}
	appendAll(t, again, printed("two"), replied(), status("idle"))
	for _, e := range []*Execution{again, open(t, dir, Default).Find("req")} {
		if got := shown(t, e); got != "onetwo" || !e.Finished() || !e.Replied {
			t.Errorf("after the second run: it shows %s, %+v", got, e.State)
		}
	}

	j := open(t, t.TempDir(), Default)
	first := begin(t, j, "req")
	appendAll(t, first, printed("one"))
	e := begin(t, j, "req")
	appendAll(t, e, status("idle"), printed("two"))
	if n := len(j.Executions()); n != 1 || shown(t, j.Find("req")) != "onetwo" {
		t.Errorf("%d executions; it shows %s", n, shown(t, j.Find("req")))
	}
}

// TestCompactsWhatIsLoose checks that the file of an execution is rewritten at its end only if that
// can make it smaller. Otherwise, a large output would be read into memory for nothing.
func TestCompactsWhatIsLoose(t *testing.T) {
	picture := said("display_data", map[string]any{"data": map[string]string{"image/png": strings.Repeat("QUFB", 100_000)}})
	for name, c := range map[string]struct {
		all  []wire.Message
		want bool
	}{
		"a picture":                 {[]wire.Message{picture}, false},
		"a picture that is cleared": {[]wire.Message{picture, said("clear_output", map[string]bool{"wait": false})}, true},
		"a picture and text":        {[]wire.Message{picture, printed("a\rb\n")}, true},
		"an update of another":      {[]wire.Message{picture, said("update_display_data", map[string]any{})}, true},
	} {
		dir := t.TempDir()
		e := begin(t, open(t, dir, Default), "a")
		appendAll(t, e, c.all...)
		before, err := os.Stat(e.path(0))
		if err != nil {
			t.Fatal(err)
		}
		appendAll(t, e, replied(), status("idle"))
		after, err := os.Stat(e.path(0))
		if err != nil {
			t.Fatal(err)
		}
		if rewritten := !os.SameFile(before, after); rewritten != c.want {
			t.Errorf("%s: rewritten: %v", name, rewritten)
		}
	}
}

// TestIsCellID compares isCellID with the expression of nbformat's schema.
func TestIsCellID(t *testing.T) {
	expression := regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	for _, id := range []string{"", "a", "aZ09_-", strings.Repeat("a", 64), strings.Repeat("a", 65), "a b", "é", "a\n", "vscode-notebook-cell:/x.ipynb#W0sZmlsZQ", "\xff", "a.b"} {
		if isCellID(id) != expression.MatchString(id) {
			t.Errorf("%q is an id: %v", id, isCellID(id))
		}
	}
}
