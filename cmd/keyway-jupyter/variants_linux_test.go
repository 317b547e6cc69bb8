package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/jupyter/wire"
	"keyway/test/await"
)

// threadGoesOn checks the output of a thread that prints after its cell has ended and its file was
// written.
func threadGoesOn(t *testing.T, w *world) {
	b := book{w, "thread.ipynb"}
	code := "import threading, time\ndef f():\n  for i in range(30): print('line', i, flush=True); time.sleep(0.1)\n  print('over', flush=True)\nthreading.Thread(target=f).start()"
	b.save(t, codeCell("aaa", code))
	k := b.kernel(t)
	a := w.front.open(t, k, "", wire.V1)
	id := a.run(code, "aaa")
	a.ended(id)
	a.close()
	await.That(t, "the cell's end in the file", func() bool { return strings.HasPrefix(b.read(t, w.stock)[0].text(), "line 0\n") })
	w.written(t, b.path, "over")
	if got := b.read(t, w.front)[0].text(); !strings.HasSuffix(got, "line 29\nover\n") {
		t.Errorf("%q", got)
	}
}

// displayOfAnother checks that a cell updates a display of another one while no client is
// connected.
func displayOfAnother(t *testing.T, w *world) {
	b := book{w, "cross.ipynb"}
	one, two := "h = display('v0', display_id='d')", "import time\nfor i in range(20): h.update('v%d' % i); time.sleep(0.05)\nprint('over')"
	b.save(t, codeCell("aaa", "from IPython.display import display\n"+one), codeCell("bbb", two))
	k := b.kernel(t)
	a := w.front.open(t, k, "", wire.V1)
	one = "from IPython.display import display\n" + one
	id := a.run(one, "aaa")
	a.run(two, "bbb")
	a.until(id, "shown", func(s *shown) bool { return s.display["d"] != "" })
	a.close()
	w.idle(t, k)
	if got := b.read(t, w.front)[0].Outputs; len(got) != 1 || fmt.Sprint(got[0].Data["text/plain"]) != "'v19'" {
		t.Errorf("%v", got)
	}
	c := w.front.open(t, k, a.session, wire.JSON)
	c.ended(id)
	c.mu.Lock()
	if got := c.cells[id].display["d"]; got != "'v19'" {
		t.Errorf("%v", got)
	}
	c.mu.Unlock()
	c.close()
	w.written(t, b.path, "over")
	await.That(t, "v19 in the file", func() bool {
		got := b.read(t, w.stock)[0].Outputs
		return len(got) == 1 && fmt.Sprint(got[0].Data["text/plain"]) == "'v19'"
	})
}

// twoNotebooks checks two notebooks of one kernel: each file gets the outputs of its own cells.
func twoNotebooks(t *testing.T, w *world) {
	one, two := book{w, "two-b.ipynb"}, book{w, "two-a.ipynb"}
	one.save(t, codeCell("aaa", "import time; time.sleep(0.5); print('one')"))
	two.save(t, codeCell("bbb", "print('two')"))
	k := one.kernel(t)
	if code := w.front.call(t, "POST", "/api/sessions", map[string]any{"path": two.path, "name": two.path, "type": "notebook", "kernel": map[string]string{"id": k}}, nil); code/100 != 2 {
		t.Fatal(code)
	}
	a, b := w.front.open(t, k, "", wire.V1), w.front.open(t, k, "", wire.JSON)
	a.run("import time; time.sleep(0.5); print('one')", "aaa")
	b.run("print('two')", "bbb")
	a.close()
	b.close()
	w.idle(t, k)
	if got := one.read(t, w.front)[0].text(); got != "one\n" {
		t.Errorf("%q", got)
	}
	if got := two.read(t, w.front)[0].text(); got != "two\n" {
		t.Errorf("%q", got)
	}
	w.written(t, one.path, "one")
	w.written(t, two.path, "two")
}

// renamed renames the notebook in mid-cell, and checks that the renamed file gets the output.
func renamed(t *testing.T, w *world) {
	b := book{w, "before.ipynb"}
	code, want := lines(60, "0.03")
	b.save(t, codeCell("aaa", code))
	k := b.kernel(t)
	a := w.front.open(t, k, "", wire.V1)
	id := a.run(code, "aaa")
	a.line(id, 3)
	var sessions []struct {
		ID     string
		Kernel struct{ ID string }
	}
	w.front.call(t, "GET", "/api/sessions", nil, &sessions)
	w.front.call(t, "PATCH", "/api/contents/before.ipynb", map[string]string{"path": "after ü.ipynb"}, nil)
	for _, s := range sessions {
		if s.Kernel.ID == k {
			if code := w.front.call(t, "PATCH", "/api/sessions/"+s.ID, map[string]string{"path": "after ü.ipynb"}, nil); code/100 != 2 {
				t.Fatal(code)
			}
		}
	}
	a.close()
	b.path = "after ü.ipynb"
	w.idle(t, k)
	if got := b.read(t, w.front)[0].text(); got != want {
		t.Errorf("%q", got)
	}
	w.written(t, b.path, "line 59")
}

// movedInAShell moves the notebook in mid-cell without telling the Jupyter server, and checks that the
// moved file gets the output. It then removes the file in mid-cell, and checks that the end of the
// kernel puts the output into a notebook of its own.
func movedInAShell(t *testing.T, w *world) {
	b := book{w, "moved.ipynb"}
	code, _ := lines(60, "0.03")
	code = "# moved\n" + code
	b.save(t, codeCell("mmm", code))
	k := b.kernel(t)
	begin := func() {
		a := w.front.open(t, k, "", wire.V1)
		a.line(a.run(code, "mmm"), 3)
		a.close()
	}
	begin()
	moved := filepath.Join(w.dir, "done", b.path)
	if err := errors.Join(os.Mkdir(filepath.Dir(moved), 0o700), os.Rename(filepath.Join(w.dir, b.path), moved)); err != nil {
		t.Fatal(err)
	}
	w.written(t, "done/moved.ipynb", "line 59")
	begin()
	if err := os.Remove(moved); err != nil {
		t.Fatal(err)
	}
	w.front.call(t, "DELETE", "/api/kernels/"+k, nil, nil)
	await.That(t, "the end of the kernel", func() bool { return w.status(t, k).ID == "" })
	w.written(t, "moved (outputs kept).ipynb", "line 3")
	if got := (book{w, "moved (outputs kept).ipynb"}).read(t, w.stock); len(got) != 1 || !strings.HasPrefix(got[0].text(), "line 0\n") {
		t.Errorf("%+v", got)
	}
}

// savedByAnother saves the notebook in mid-cell with other cells and without the outputs.
func savedByAnother(t *testing.T, w *world) {
	b := book{w, "another.ipynb"}
	code, want := lines(60, "0.03")
	b.save(t, codeCell("aaa", code), codeCell("bbb", "old"))
	k := b.kernel(t)
	a := w.front.open(t, k, "", wire.V1)
	id := a.run(code, "aaa")
	a.line(id, 3)
	a.close()
	b.save(t, codeCell("ccc", "in front"), codeCell("aaa", code), codeCell("bbb", "new"))
	w.idle(t, k)
	w.written(t, b.path, "line 59")
	got := b.read(t, w.stock)
	if len(got) != 3 || got[1].text() != want || got[2].Source != "new" {
		t.Errorf("%+v", got)
	}
}

// passwordWaits checks that a cell asks for a password and a word, each of the next client, and
// that no file has the password.
func passwordWaits(t *testing.T, w *world) {
	k := w.front.kernel(t)
	a := w.front.open(t, k, "", wire.JSON)
	id := a.run("import getpass\nx = getpass.getpass('pw? ')\nprint(len(x))\ny = input('again? ')\nprint(y)", "")
	a.until(id, "the question", func(s *shown) bool { return s.prompt != nil })
	a.close()
	b := w.front.open(t, k, "", wire.V1)
	w.front.open(t, k, "", wire.JSON)
	b.until(id, "the question again", func(s *shown) bool { return s.prompt != nil })
	b.mu.Lock()
	p := *b.cells[id].prompt
	b.mu.Unlock()
	if !strings.Contains(string(p.Content), `"password": true`) && !strings.Contains(string(p.Content), `"password":true`) {
		t.Errorf("%s", p.Content)
	}
	b.send("stdin", "input_reply", map[string]string{"value": "SeKret-4711", "status": "ok"}, "{}", p.Header)
	b.until(id, "the second", func(s *shown) bool { return s.prompt != nil && s.prompt.Head.ID != p.Head.ID })
	b.mu.Lock()
	p = *b.cells[id].prompt
	b.mu.Unlock()
	b.close()
	d := w.front.open(t, k, "", wire.V1)
	d.until(id, "the second again", func(s *shown) bool { return s.prompt != nil })
	d.mu.Lock()
	if d.cells[id].prompt.Head.ID != p.Head.ID {
		t.Errorf("another prompt")
	}
	d.mu.Unlock()
	d.send("stdin", "input_reply", map[string]string{"value": "world", "status": "ok"}, "{}", p.Header)
	if got := d.ended(id); got != "11\nworld\n" {
		t.Errorf("%q", got)
	}
	recorded := func(text string) string {
		out, _ := exec.Command("grep", "-rl", text, filepath.Dir(w.dir)).Output() // files may go meanwhile
		return string(out)
	}
	if in := recorded("SeKret-4711"); in != "" {
		t.Errorf("the password is in %s", in)
	}
	if recorded("again? ") == "" {
		t.Errorf("the search finds no prompt, which is recorded")
	}
}

// kernelDies kills the kernel in mid-cell, while another cell waits.
func kernelDies(t *testing.T, w *world) {
	b := book{w, "dies.ipynb"}
	code := "import os, signal, time\nprint('before', flush=True)\ntime.sleep(0.5)\nos.kill(os.getpid(), signal.SIGKILL)"
	b.save(t, codeCell("aaa", code), codeCell("bbb", "print('b')"))
	k := b.kernel(t)
	a := w.front.open(t, k, "", wire.V1)
	id := a.run(code, "aaa")
	a.run("print('b')", "bbb")
	a.until(id, "before", func(s *shown) bool { return s.text.Len() > 0 })
	a.close()
	w.idle(t, k)
	w.written(t, b.path, "before")
}

// restartedElsewhere restarts the kernel at the Jupyter server itself.
func restartedElsewhere(t *testing.T, w *world) {
	a := w.front.midCell(t, wire.V1, 10_000, "0.02")
	a.close()
	if code := w.stock.call(t, "POST", "/api/kernels/"+a.kernel+"/restart", map[string]any{}, nil); code != 200 {
		t.Fatal(code)
	}
	w.idle(t, a.kernel)
}
