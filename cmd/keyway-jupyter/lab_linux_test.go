//go:build jupyterlab

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// labState is what JupyterLab's page shows of the first cell.
const labState = `(() => {
  const panel = window.jupyterapp && [...jupyterapp.shell.widgets('main')].find(w => w.sessionContext && w.content.activeCell), c = document.querySelector('.jp-NotebookPanel .jp-CodeCell');
  const kernel = panel && panel.sessionContext && panel.sessionContext.session && panel.sessionContext.session.kernel;
  if (!c || !kernel || kernel.connectionStatus !== 'connected' || !['idle', 'busy'].includes(kernel.status)) return {ready: false};
  const text = [...c.querySelectorAll('.jp-OutputArea-output pre')].map(p => p.textContent).join('');
  const lines = [...text.matchAll(/line (\d+)\n/g)].map(m => +m[1]);
  return {ready: true, prompt: c.querySelector('.jp-InputPrompt').textContent.trim(), lines: lines.length,
    ordered: lines.every((v, i) => v === i), end: text.includes('END')};
})()`

// labRun runs the first cell, unless it runs. The command wants its notebook in front.
const labRun = `(() => {
  const panel = [...jupyterapp.shell.widgets('main')].find(w => w.sessionContext);
  jupyterapp.shell.activateById(panel.id);
  if (document.querySelector('.jp-NotebookPanel .jp-CodeCell .jp-InputPrompt').textContent.trim() === '[ ]:') jupyterapp.commands.execute('notebook:run-cell');
})()`

// TestJupyterLab closes the page of JupyterLab 4 in mid-cell, by killing the browser, and
// opens it again: the cell goes on there, and the saved file has it all. The Jupyter server
// alone shows nothing. KEYWAY_JUPYTERLAB is a root directory with JupyterLab (make
// jupyterlab).
func TestJupyterLab(t *testing.T) {
	root := os.Getenv("KEYWAY_JUPYTERLAB")
	for _, m := range []struct{ source, target, kind string }{{"/tmp", "tmp", ""}, {"proc", "proc", "proc"}} {
		target, flags := filepath.Join(root, m.target), uintptr(0)
		if m.kind == "" {
			flags = unix.MS_BIND
		}
		if err := unix.Mount(m.source, target, m.kind, flags, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
	}
	w := (&world{root: root}).start(t, "--lab", "--", "--LabApp.expose_app_in_browser=True")
	const code = "import time, os\nfor i in range(60):\n    print('line', i, flush=True); time.sleep(0.02)\n    while i == 30 and not os.path.exists(NAME): time.sleep(0.02)\nprint('END')"
	type side struct {
		service
		base, name string
		page       *tab
	}
	sides := map[string]*side{"front": {service: w.front}, "stock": {service: w.stock}}
	b := startBrowser(t)
	open := func() {
		for _, s := range sides {
			s.page = b.open(s.base + "lab/workspaces/" + s.name + "/tree/" + s.name + ".ipynb?token=" + s.token)
			s.page.look = labState
		}
	}
	for name, s := range sides {
		s.base, s.name = s.forward(t), name
		book{w, name + ".ipynb"}.save(t, codeCell("aaa", strings.Replace(code, "NAME", fmt.Sprintf("%q", name+".go"), 1)))
	}
	open()
	for name, s := range sides {
		s.page.until(name+" is ready", func(cellState) bool { return true })
		s.page.until("line 30 in "+name, func(c cellState) bool {
			if c.Prompt == "[ ]:" {
				s.page.eval(labRun, nil)
			}
			return c.Lines == 31 && c.Ordered
		})
	}
	b.kill()
	b = startBrowser(t)
	open()
	sides["front"].page.until("what was there, and the cell that runs", func(c cellState) bool {
		return c.Lines == 31 && c.Ordered && strings.Contains(c.Prompt, "*")
	})
	for name, s := range sides {
		s.page.until(name+" is ready again", func(cellState) bool { return true })
		w.stock.touch(t, name+".go")
	}
	got := sides["front"].page.until("the end of the cell", func(c cellState) bool { return c.End && !strings.Contains(c.Prompt, "*") })
	if got.Lines != 60 || !got.Ordered || got.Prompt != "[1]:" {
		t.Errorf("reopened in mid-cell, the page shows %+v", got)
	}
	time.Sleep(2 * time.Second) // for what would come twice
	got = cellState{}
	sides["front"].page.eval(labState, &got)
	if got.Lines != 60 {
		t.Errorf("later, the page shows %+v", got)
	}
	if got := sides["stock"].page.until("the page", func(cellState) bool { return true }); got.End || got.Lines == 60 {
		t.Errorf("the Jupyter server alone loses nothing: %+v", got)
	}
}
