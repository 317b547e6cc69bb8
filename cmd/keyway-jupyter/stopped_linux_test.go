package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keyway/internal/jupyter/wire"
	"keyway/test/await"
)

// TestStopped kills the program while a kernel starts, and stops the program and the Jupyter server
// in mid-cell. It checks that the first cell runs nevertheless, and that the file has the output of
// both cells.
func TestStopped(t *testing.T) {
	w := startWorld(t)
	b := book{w, "stopped.ipynb"}
	const code = "import time\nfor i in range(100_000):\n    print('line', i, flush=True); time.sleep(0.02)"
	b.save(t, codeCell("aaa", "print('the first')"), codeCell("bbb", code))
	kernel := b.lastingKernel(t)
	page := w.front.open(t, kernel, "", wire.V1)
	id := page.run("print('the first')", "aaa")
	await.That(t, "the request is written down", func() bool { return w.status(t, kernel).Kept > 0 })
	w.kill(t)
	<-page.done
	page = w.front.open(t, kernel, page.session, wire.V1)
	if got := page.ended(id); got != "the first\n" {
		t.Errorf("killed while the kernel began: %q", got)
	}
	page.line(page.run(code, "bbb"), 5)
	page.close()
	if err := syscall.Kill(w.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	file := ""
	await.That(t, "the end of the cell in the file", func() bool {
		data, err := os.ReadFile(filepath.Join(w.dir, b.path))
		file = string(data)
		return err == nil && strings.Contains(file, "[the kernel was stopped here")
	})
	if !strings.Contains(file, `the first\n`) || !strings.Contains(file, `line 5\n`) {
		t.Errorf("the file has %s", file)
	}
	w.valid(t, b.path)
}
