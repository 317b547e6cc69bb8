package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"keyway/internal/jupyter/front"
	"keyway/internal/jupyter/wire"
	"keyway/test/await"
)

// world is a real Jupyter server with keyway-jupyter in front of it.
type world struct {
	front, stock service
	dir          string
	pid          int
	program      string
	environ      []string
	root         string // of the program's file system; empty: the test's own
	home         string // of the user; empty: a new directory
	log          string // a file
}

var builtDir string // with the program, once a test needs it

// built builds the program once for all tests, without cgo as a release has it, and returns its path.
var built = sync.OnceValues(func() (program string, err error) {
	if builtDir, err = os.MkdirTemp("", "keyway-jupyter"); err != nil {
		return "", err
	}
	program = filepath.Join(builtDir, "keyway-jupyter")
	cmd := exec.Command("go", "build", "-o", program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return program, fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(builtDir) // nothing if it is empty
	os.Exit(code)
}

// build puts the program at a path.
func build(t *testing.T, program string) {
	t.Helper()
	from, err := built()
	if err == nil {
		err = os.Link(from, program)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// startWorld starts both, with further arguments of serve.
func startWorld(t *testing.T, args ...string) *world {
	t.Helper()
	return (&world{}).start(t, args...)
}

// start does the same, in another root or with further variables of the environment.
func (w *world) start(t *testing.T, args ...string) *world {
	t.Helper()
	home := w.home
	if home == "" {
		home = t.TempDir()
	}
	w.dir, w.program, w.log = filepath.Join(home, "work"), filepath.Join(home, "keyway-jupyter"), filepath.Join(home, "log")
	build(t, w.program)
	if err := os.Mkdir(w.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w.environ = append(w.environ, "HOME="+home, "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8")
	t.Cleanup(func() {
		if said, _ := os.ReadFile(w.log); t.Failed() {
			t.Logf("the program said:\n%s", said)
		}
	})
	w.serve(t, args...)
	t.Setenv("HOME", home)
	t.Setenv("XDG_DATA_HOME", "")
	pid := 0
	for _, s := range running() {
		w.stock, pid = service{s.Address, s.Token}, s.PID
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGTERM) }) // if the program that started it was killed
	for _, p := range []int{w.pid, pid} {
		if args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p)); len(args) == 0 || bytes.Contains(args, []byte(w.stock.token)) || bytes.Contains(args, []byte(w.front.token)) {
			t.Errorf("the arguments of a process, which all can read, have a token: %q", args)
		}
	}
	if w.stock.token == "" || w.stock.token == w.front.token {
		t.Fatalf("the Jupyter server is not found, or has our token: %+v", w.stock)
	}
	return w
}

func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(w.program, args...)
	cmd.Env, cmd.SysProcAttr = w.environ, &syscall.SysProcAttr{Chroot: w.root}
	return cmd
}

// serve starts the program, and waits until it answers.
func (w *world) serve(t *testing.T, args ...string) {
	t.Helper()
	log, err := os.OpenFile(w.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := w.command(append([]string{"serve", "--dir", w.dir, "--away", "100ms", "--long", "500ms"}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	out, err := w.command("where", "--wait", "60").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var r record
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	w.front = service{r.Socket, r.Token}
}

// status returns the state of a kernel as the program reports it.
func (w *world) status(t *testing.T, id string) front.KernelStatus {
	t.Helper()
	var all []front.KernelStatus
	w.front.call(t, "GET", "/keyway/kernels", nil, &all)
	for _, k := range all {
		if k.ID == id {
			return k
		}
	}
	return front.KernelStatus{}
}

// idle waits until a kernel is idle and no client is connected.
func (w *world) idle(t *testing.T, id string) {
	t.Helper()
	await.That(t, "an idle kernel", func() bool {
		s := w.status(t, id)
		return s.ID != "" && s.Running+s.Queued+s.Clients == 0
	})
}

// worker returns the process ID of the program's child; 0 if there is none.
func (w *world) worker() (pid int) {
	out, _ := exec.Command("ps", "-o", "pid=,args=", "--ppid", strconv.Itoa(w.pid)).Output() // none: no process
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] == "keep" {
			pid, _ = strconv.Atoi(fields[0])
		}
	}
	return pid
}

// kill kills the program that does the work.
func (w *world) kill(t *testing.T) {
	t.Helper()
	if pid := w.worker(); pid == 0 || syscall.Kill(pid, syscall.SIGKILL) != nil {
		t.Fatal("there is no process to kill")
	}
}

// TestNothingIsLost checks with real kernels behind a real Jupyter server that no output is lost.
// The case stockLoses shows that the Jupyter server alone loses some.
func TestNothingIsLost(t *testing.T) {
	w := startWorld(t)
	t.Run("together", func(t *testing.T) {
		for _, c := range []struct {
			name string
			test func(*testing.T, *world)
		}{
			{"back after the end", backAfterTheEnd},
			{"back in the middle", backInTheMiddle},
			{"the same session back", sameSessionBack},
			{"half-open", halfOpen},
			{"stock loses", stockLoses},
			{"two at once", twoAtOnce},
			{"queued cells", queuedCells},
			{"input waits", inputWaits},
			{"many prompts", manyPrompts},
			{"restart and interrupt", restartAndInterrupt},
			{"displays", displays},
			{"notebook", theNotebook},
			{"two cells alike", cellsAlike},
			{"news", newsOfCells},
			{"a thread goes on", threadGoesOn},
			{"the display of another cell", displayOfAnother},
			{"two notebooks of one kernel", twoNotebooks},
			{"renamed", renamed},
			{"moved in a shell", movedInAShell},
			{"saved by another", savedByAnother},
			{"a password", passwordWaits},
			{"the kernel dies", kernelDies},
			{"restarted elsewhere", restartedElsewhere},
		} {
			t.Run(c.name, func(t *testing.T) { t.Parallel(); c.test(t, w) })
		}
	})
	t.Run("killed in mid-cell", func(t *testing.T) { killedInMidCell(t, w) })
	t.Run("killed often", func(t *testing.T) { killedOften(t, w) })
	t.Run("killed while kernels start", func(t *testing.T) { killedWhileKernelsStart(t, w) })
	t.Run("none dropped", func(t *testing.T) { noneDropped(t, w) })
	t.Run("both killed", func(t *testing.T) { bothKilled(t, w) })
	w.valid(t, "*.ipynb")
}

// killedInMidCell kills the program during two cells. The page of one comes back with its session;
// the other's does not.
func killedInMidCell(t *testing.T, w *world) {
	a := w.front.midCell(t, wire.V1, 60, "0.05")
	k := a.kernel
	w.kill(t)
	<-a.done // its connection has ended
	b := w.front.open(t, k, a.session, wire.V1)
	if got := b.ended(a.id); got != a.want {
		t.Errorf("killed under a page that comes back: %q", got)
	}
	code, want := lines(60, "0.05")
	again := b.run(code, "")
	b.line(again, 5)
	b.close()
	w.kill(t)
	w.idle(t, k)
	c := w.front.open(t, k, "", wire.JSON)
	if got := c.ended(again); got != want {
		t.Errorf("killed without a page: %q", got)
	}
	c.close()
	w.kill(t)
	await.That(t, "the kernel again", func() bool { return w.worker() > 0 && w.status(t, k).ID == k })
	if s := w.status(t, k).State; s != "idle" {
		t.Errorf("after a restart of the program, the kernel is %s", s)
	}
}

// midCell is a page with a running cell on a kernel of its own.
type midCell struct {
	*page
	kernel   string
	id, want string // id of the cell; its complete output
}

// midCell runs a cell of n lines on a new page, and waits for the fourth line. pause is the time
// between two lines, in seconds.
func (s service) midCell(t *testing.T, p wire.Protocol, n int, pause string) midCell {
	t.Helper()
	m := midCell{kernel: s.kernel(t)}
	m.page = s.open(t, m.kernel, "", p)
	code, want := lines(n, pause)
	m.id, m.want = m.run(code, ""), want
	m.line(m.id, 3)
	return m
}

var protocols = map[string]wire.Protocol{"JSON": wire.JSON, "v1": wire.V1}

func backAfterTheEnd(t *testing.T, w *world) {
	for name, p := range protocols {
		a := w.front.midCell(t, p, 40, "0.02")
		a.close()
		w.idle(t, a.kernel)
		if got := w.front.open(t, a.kernel, "", p).ended(a.id); got != a.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func backInTheMiddle(t *testing.T, w *world) {
	a := w.front.midCell(t, wire.V1, 100, "0.03")
	a.close()
	b := w.front.open(t, a.kernel, "", wire.V1)
	b.line(a.id, 50)
	if got := b.ended(a.id); got != a.want {
		t.Errorf("%q", got)
	}
}

func sameSessionBack(t *testing.T, w *world) {
	a := w.front.midCell(t, wire.JSON, 60, "0.03")
	a.close()
	w.idle(t, a.kernel)
	if got := w.front.open(t, a.kernel, a.session, wire.JSON).ended(a.id); got != a.want {
		t.Errorf("%q", got)
	}
}

// halfOpen checks a laptop that disappears: its connection stays open, and the test reads nothing
// from it.
func halfOpen(t *testing.T, w *world) {
	a := w.front.midCell(t, wire.V1, 60, "0.03")
	a.mu.Lock() // stops its reader
	await.That(t, "the end of the cell", func() bool { s := w.status(t, a.kernel); return s.Running+s.Queued == 0 })
	b := w.front.open(t, a.kernel, a.session, wire.V1)
	got := b.ended(a.id)
	a.mu.Unlock()
	if got != a.want {
		t.Errorf("%q", got)
	}
}

// stockLoses checks that the cases fail without the program.
func stockLoses(t *testing.T, w *world) {
	a := w.stock.midCell(t, wire.JSON, 40, "0.02")
	a.close()
	await.That(t, "the end of the cell", func() bool {
		var s struct {
			State string `json:"execution_state"`
		}
		w.stock.call(t, "GET", "/api/kernels/"+a.kernel, nil, &s)
		return s.State == "idle"
	})
	b := w.stock.open(t, a.kernel, "", wire.JSON)
	b.ended(b.run("1", "")) // earlier output would have come before this cell's end
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.cells[a.id]; s != nil && s.text.String() == a.want {
		t.Error("the Jupyter server alone loses nothing: this program is not needed")
	}
}

func twoAtOnce(t *testing.T, w *world) {
	k := w.front.kernel(t)
	a, b := w.front.open(t, k, "", wire.V1), w.front.open(t, k, "", wire.JSON)
	code, want := lines(30, "0.01")
	id := a.run(code, "")
	if got := a.ended(id); got != want {
		t.Errorf("the one who asked has %q", got)
	}
	if got := b.until(id, "the other's end", func(s *shown) bool { return s.idle }); got != want {
		t.Errorf("the other has %q", got)
	}
}

func queuedCells(t *testing.T, w *world) {
	k := w.front.kernel(t)
	a := w.front.open(t, k, "", wire.V1)
	ids, want := []string{}, []string{}
	for i := range 20 {
		ids = append(ids, a.run(fmt.Sprintf("import time; time.sleep(0.05); print('cell %d')", i), fmt.Sprint("c", i)))
		want = append(want, fmt.Sprintf("cell %d\n", i))
	}
	a.ended(ids[1])
	a.close()
	w.idle(t, k)
	b := w.front.open(t, k, "", wire.V1)
	for i, id := range ids {
		if got := b.ended(id); got != want[i] {
			t.Errorf("cell %d: %q", i, got)
		}
	}
}

// inputWaits closes the page while input() waits, and answers from another page.
func inputWaits(t *testing.T, w *world) {
	k := w.front.kernel(t)
	a := w.front.open(t, k, "", wire.JSON)
	id := a.run("print('hello', input('who? '))", "")
	a.until(id, "the question", func(s *shown) bool { return s.prompt != nil })
	a.close()
	b := w.front.open(t, k, "", wire.JSON)
	b.until(id, "the question again", func(s *shown) bool { return s.prompt != nil })
	b.mu.Lock()
	header := b.cells[id].prompt.Header
	b.mu.Unlock()
	b.send("stdin", "input_reply", map[string]string{"value": "world", "status": "ok"}, "{}", header)
	if got := b.ended(id); got != "hello world\n" {
		t.Errorf("%q", got)
	}
}

// manyPrompts answers four prompts of a cell that prints nothing between them. The kernel numbers
// prompts and outputs together: nothing is missing.
func manyPrompts(t *testing.T, w *world) {
	a := w.front.open(t, w.front.kernel(t), "", wire.JSON)
	id := a.run("print('begins')\nall = [input('name %d? ' % i) for i in range(4)]\nprint(*all)", "")
	for i := range 4 {
		var header []byte
		a.until(id, fmt.Sprint("prompt ", i), func(s *shown) bool {
			asked := s.prompt != nil && strings.Contains(string(s.prompt.Content), fmt.Sprintf("name %d?", i))
			if asked {
				header = s.prompt.Header
			}
			return asked
		})
		a.send("stdin", "input_reply", map[string]string{"value": fmt.Sprint("n", i), "status": "ok"}, "{}", header)
	}
	if got := a.ended(id); got != "begins\nn0 n1 n2 n3\n" {
		t.Errorf("%q", got)
	}
}

func restartAndInterrupt(t *testing.T, w *world) {
	a := w.front.midCell(t, wire.V1, 10_000, "0.02")
	k := a.kernel
	w.front.call(t, "POST", "/api/kernels/"+k+"/interrupt", map[string]any{}, nil)
	a.until(a.id, "KeyboardInterrupt", func(s *shown) bool { return s.idle && s.replied && len(s.others) == 1 })
	code, _ := lines(10_000, "0.02")
	id := a.run(code, "")
	a.line(id, 3)
	a.close()
	if code := w.front.call(t, "POST", "/api/kernels/"+k+"/restart", map[string]any{}, nil); code != 200 {
		t.Fatal(code)
	}
	w.idle(t, k)
	b := w.front.open(t, k, "", wire.V1)
	b.ended(id) // shown as aborted
	b.heard()
	code, want := lines(3, "0")
	if got := b.ended(b.run(code, "")); got != want {
		t.Errorf("after the restart: %q", got)
	}
}

func displays(t *testing.T, w *world) {
	k := w.front.kernel(t)
	a := w.front.open(t, k, "", wire.V1)
	id := a.run(`
import time
from IPython.display import display, clear_output
for i in range(20):
    clear_output(wait=True); print("round", i); time.sleep(0.02)
h = display("bar 0", display_id="the-bar")
for i in range(20):
    h.update("bar %d" % i)
42`, "")
	a.until(id, "round", func(s *shown) bool { return strings.Contains(s.text.String(), "round 1") })
	a.close()
	w.idle(t, k)
	b := w.front.open(t, k, "", wire.V1)
	if got := b.ended(id); got != "round 19\n" {
		t.Errorf("%q", got)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.cells[id]; s.display["the-bar"] != "'bar 19'" || len(s.others) != 1 || s.updates > 5 {
		t.Errorf("%v, %v, %d updates", s.display, s.others, s.updates)
	}
}

// book is a notebook in the contents API.
type book struct {
	w    *world
	path string
}

func (b book) save(t *testing.T, cells ...map[string]any) {
	t.Helper()
	minor := 5
	if cells[0]["id"] == nil {
		minor = 4
	}
	body := map[string]any{"type": "notebook", "format": "json", "content": map[string]any{
		"nbformat": 4, "nbformat_minor": minor, "metadata": map[string]any{"kernelspec": map[string]string{"name": "python3", "display_name": "Python 3"}}, "cells": cells}}
	if code := b.w.front.call(t, "PUT", "/api/contents/"+b.path, body, nil); code/100 != 2 {
		t.Fatalf("saving: %d", code)
	}
}

// codeCell returns a code cell; without an id if id is empty, as before nbformat 4.5.
func codeCell(id, source string) map[string]any {
	c := map[string]any{"cell_type": "code", "id": id, "metadata": map[string]any{}, "source": source, "outputs": []any{}, "execution_count": nil}
	if id == "" {
		delete(c, "id")
	}
	return c
}

// kernel starts a kernel for the notebook, and ends it with the test.
func (b book) kernel(t *testing.T) string {
	t.Helper()
	id := b.lastingKernel(t)
	t.Cleanup(func() { b.w.front.call(t, "DELETE", "/api/kernels/"+id, nil, nil) })
	return id
}

// lastingKernel starts a kernel for the notebook that ends with the Jupyter server.
func (b book) lastingKernel(t *testing.T) string {
	t.Helper()
	var s struct{ Kernel struct{ ID string } }
	code := b.w.front.call(t, "POST", "/api/sessions", map[string]any{"path": b.path, "name": b.path, "type": "notebook",
		"kernel": map[string]string{"name": "python3"}}, &s)
	if code/100 != 2 {
		t.Fatal(code)
	}
	return s.Kernel.ID
}

// cell is a cell as a client gets it.
type cell struct {
	ID       string         `json:"id"`
	Source   string         `json:"source"`
	Type     string         `json:"cell_type"`
	Count    *int           `json:"execution_count"`
	Metadata map[string]any `json:"metadata"`
	Outputs  []struct {
		Type string         `json:"output_type"`
		Text string         `json:"text"`
		Data map[string]any `json:"data"`
	} `json:"outputs"`
}

func (b book) read(t *testing.T, s service) (cells []cell) {
	t.Helper()
	var m struct{ Content struct{ Cells []cell } }
	if code := s.call(t, "GET", "/api/contents/"+b.path, nil, &m); code != 200 {
		t.Fatal(code)
	}
	return m.Content.Cells
}

func (c cell) text() (all string) {
	for _, o := range c.Outputs {
		all += o.Text
	}
	return all
}

// valid checks the notebooks that match a pattern with nbformat.
func (w *world) valid(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no notebooks: %v", err)
	}
	const script = "import nbformat, sys\nfor f in sys.argv[1:]: nbformat.validate(nbformat.read(f, 4))"
	if out, err := exec.Command("/usr/bin/python3", append([]string{"-c", script}, files...)...).CombinedOutput(); err != nil {
		t.Errorf("a file is not valid: %s", out)
	}
}

// written waits until a notebook's file contains a text, and checks the file with nbformat.
func (w *world) written(t *testing.T, name, text string) {
	t.Helper()
	await.That(t, text+" in "+name, func() bool {
		data, err := os.ReadFile(filepath.Join(w.dir, name))
		return err == nil && strings.Contains(string(data), `"`+text+`\n"`)
	})
	w.valid(t, name)
}

// theNotebook leaves a notebook in mid-cell. It checks the notebook as another page reads it, and
// the file.
func theNotebook(t *testing.T, w *world) {
	b := book{w, "the.ipynb"}
	code, want := lines(60, "0.03")
	b.save(t, codeCell("aaa", code), codeCell("bbb", "1/0"), codeCell("ccc", "changed"))
	k := b.kernel(t)
	a := w.front.open(t, k, "", wire.V1)
	id := a.run(code, "aaa")
	a.run("original", "ccc")
	a.line(id, 10)
	// Another page, in mid-cell, gets the outputs so far. The file does not have them.
	if got := b.read(t, w.front)[0]; !strings.HasPrefix(got.text(), "line 0\n") || got.Metadata["keyway"] != nil {
		t.Errorf("in mid-cell: %q, %v", got.text(), got.Metadata)
	}
	if got := b.read(t, w.stock)[0]; len(got.Outputs) != 0 {
		t.Errorf("the file has %v before the end", got.Outputs)
	}
	a.close()
	w.idle(t, k)
	await.That(t, "the file", func() bool { return b.read(t, w.stock)[0].text() == want })
	cells := b.read(t, w.front)
	if len(cells[2].Outputs) != 0 {
		t.Errorf("a changed cell shows %v", cells[2].Outputs)
	}
	if cells[0].Count == nil || *cells[0].Count != 1 || cells[0].Metadata["keyway"] == nil {
		t.Errorf("the cell has %+v", cells[0])
	}
	w.valid(t, b.path)
	// a page that clears its outputs: they stay cleared
	cleared := codeCell("aaa", code)
	cleared["metadata"] = cells[0].Metadata
	b.save(t, cleared)
	for _, s := range []service{w.front, w.stock} {
		if got := b.read(t, s)[0]; len(got.Outputs) != 0 || got.Metadata["keyway"] != nil {
			t.Errorf("cleared, it shows %v, %v", got.Outputs, got.Metadata)
		}
	}
}

func cellsAlike(t *testing.T, w *world) {
	b := book{w, "alike.ipynb"}
	b.save(t, codeCell("aaa", "x = globals().get('x', 0) + 1; print(x)"), codeCell("bbb", "x = globals().get('x', 0) + 1; print(x)"))
	k := b.kernel(t)
	a := w.front.open(t, k, "", wire.JSON)
	for _, c := range b.read(t, w.front) {
		a.run(c.Source, "") // as the classic notebook does
	}
	a.close()
	w.idle(t, k)
	if cells := b.read(t, w.front); cells[0].text() != "1\n" || cells[1].text() != "2\n" {
		t.Errorf("%q, %q", cells[0].text(), cells[1].text())
	}
	// A stale page saves over the written file: the outputs that it has not seen are shown again.
	await.That(t, "the file", func() bool { return b.read(t, w.stock)[1].text() == "2\n" })
	b.save(t, codeCell("aaa", "x = globals().get('x', 0) + 1; print(x)"), codeCell("bbb", "x = globals().get('x', 0) + 1; print(x)"))
	if cells := b.read(t, w.front); cells[0].text() != "1\n" || cells[1].text() != "2\n" {
		t.Errorf("after a stale page's save: %q, %q", cells[0].text(), cells[1].text())
	}
}

// newsOfCells leaves a notebook in mid-cell. It checks that the end of that cell is news, and the
// end of a short cell is not.
func newsOfCells(t *testing.T, w *world) {
	b := book{w, "news.ipynb"}
	b.save(t, codeCell("aaa", ""))
	k := b.kernel(t)
	a := w.front.open(t, k, "", wire.V1)
	a.ended(a.run("print('short')", "aaa"))
	id := a.run("import time\nprint('line 0', flush=True); time.sleep(1); 1/0", "aaa")
	a.line(id, 0)
	a.close()
	last := int64(0)
	for found := 0; found == 0; { // each request waits
		cmd := exec.Command(w.program, "news", fmt.Sprint(last))
		cmd.Env = w.environ
		out, err := cmd.Output()
		var got front.News
		if err == nil {
			err = json.Unmarshal(out, &got)
		}
		if err != nil {
			t.Fatalf("no news: %v, %s", err, out)
		}
		for _, n := range got.All {
			if n.Notebook != b.path {
				continue
			}
			if found++; n.Result != "failed" || n.Seconds < 0.9 {
				t.Errorf("%+v", n)
			}
		}
		last = got.Last
	}
}
