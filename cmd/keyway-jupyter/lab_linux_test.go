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

// labState returns the text of the last cell in the page, and whether the cells before it are
// empty.
const labState = `(() => {
  const panel = window.jupyterapp && [...jupyterapp.shell.widgets('main')].find(w => w.sessionContext && w.content.activeCell);
  const cells = [...document.querySelectorAll('.jp-NotebookPanel .jp-CodeCell')], c = cells[cells.length - 1];
  const kernel = panel && panel.sessionContext && panel.sessionContext.session && panel.sessionContext.session.kernel;
  if (!c || !kernel || kernel.connectionStatus !== 'connected' || !['idle', 'busy'].includes(kernel.status)) return {ready: false};
  if (cells.some(o => o !== c && (o.querySelector('.jp-OutputArea-output') || o.querySelector('.jp-InputPrompt').textContent.trim() !== '[ ]:'))) return {ready: true, prompt: 'another cell'};
  const text = [...c.querySelectorAll('.jp-OutputArea-output pre')].map(p => p.textContent).join('');
  const lines = [...text.matchAll(/line (\d+)\n/g)].map(m => +m[1]);
  return {ready: true, prompt: c.querySelector('.jp-InputPrompt').textContent.trim(), lines: lines.length,
    ordered: lines.every((v, i) => v === i), end: text.includes('END')};
})()`

// labRun runs the last cell, unless it runs already. The command acts on the notebook in front.
const labRun = `(() => {
  const panel = [...jupyterapp.shell.widgets('main')].find(w => w.sessionContext);
  const prompts = document.querySelectorAll('.jp-NotebookPanel .jp-CodeCell .jp-InputPrompt');
  jupyterapp.shell.activateById(panel.id);
  panel.content.activeCellIndex = panel.content.widgets.length - 1;
  if (prompts[prompts.length - 1].textContent.trim() === '[ ]:') jupyterapp.commands.execute('notebook:run-cell');
})()`

// labPages lists the programs whose pages have the extension, and how each opens NAME.ipynb.
var labPages = []struct{ program, option, expose, path string }{
	{"jupyter-lab", "--lab", "--LabApp.expose_app_in_browser=True", "lab/workspaces/NAME/tree/NAME.ipynb"},
	{"jupyter-notebook", "--notebook", "--JupyterNotebookApp.expose_app_in_browser=True", "notebooks/NAME.ipynb"},
}

// TestJupyterLab checks that JupyterLab 4 and Notebook 7 show a running cell again, and that the
// saved file has all its output. It kills the browser in mid-cell and opens the page in another
// one. The cell is the second of two with the same source, in notebooks with cell ids and in
// notebooks older than nbformat 4.5. Without keyway-jupyter, the page shows nothing.
// KEYWAY_JUPYTERLAB is a root directory with JupyterLab, and with Notebook 7 or not (make
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
	for _, p := range labPages {
		if _, err := os.Stat(filepath.Join(root, "usr/bin", p.program)); err != nil {
			continue
		}
		for ids, cells := range map[string][]string{"with": {"aaa", "bbb"}, "without": {"", ""}} {
			t.Run(p.program+" "+ids+" ids", func(t *testing.T) {
				w := (&world{root: root}).start(t, p.option, "--", p.expose)
				comeBack(t, w, p.path, cells)
			})
		}
	}
}

// comeBack runs the last of the cells with these ids, leaves the page and opens it again.
func comeBack(t *testing.T, w *world, path string, ids []string) {
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
			s.page = b.open(s.base + strings.ReplaceAll(path, "NAME", s.name) + "?token=" + s.token)
			s.page.look = labState
		}
	}
	for name, s := range sides {
		s.base, s.name = s.forward(t), name
		var cells []map[string]any
		for _, id := range ids {
			cells = append(cells, codeCell(id, strings.Replace(code, "NAME", fmt.Sprintf("%q", name+".go"), 1)))
		}
		book{w, name + ".ipynb"}.save(t, cells...)
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
	time.Sleep(2 * time.Second) // for output that would come twice
	got = cellState{}
	sides["front"].page.eval(labState, &got)
	if got.Lines != 60 {
		t.Errorf("later, the page shows %+v", got)
	}
	if got := sides["stock"].page.until("the page", func(cellState) bool { return true }); got.End || got.Lines == 60 {
		t.Errorf("the Jupyter server alone loses nothing: %+v", got)
	}
}
