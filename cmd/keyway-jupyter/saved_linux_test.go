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

// TestSavedAfterTheEnd kills all processes in mid-cell, as the end of a place does, and changes the
// notebook before the next start. It checks that a copy beside the notebook has the output, and
// that the notebook stays as it was saved.
func TestSavedAfterTheEnd(t *testing.T) {
	w := startWorld(t)
	b := book{w, "saved later.ipynb"}
	const code = "import time\nfor i in range(100_000):\n    print('line', i, flush=True); time.sleep(0.02)"
	b.save(t, codeCell("aaa", code), codeCell("bbb", "another"))
	kernel := b.lastingKernel(t)
	page := w.front.open(t, kernel, "", wire.V1)
	page.line(page.run(code, "aaa"), 5)
	w.killBoth(t)
	<-page.done
	for _, server := range running() {
		if server.Address == w.stock.socket {
			if err := syscall.Kill(server.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			await.That(t, "the end of the Jupyter server", func() bool { return !lives(server.PID) })
		}
	}
	file := filepath.Join(w.dir, b.path)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	saved := strings.Replace(string(data), "another", "changed", 1)
	if err := os.WriteFile(file, []byte(saved), 0o600); err != nil {
		t.Fatal(err)
	}
	w.serve(t)
	kept := ""
	await.That(t, "a copy", func() bool {
		data, err := os.ReadFile(filepath.Join(w.dir, "saved later (outputs kept).ipynb"))
		kept = string(data)
		return err == nil && strings.Contains(kept, "[the kernel was stopped here")
	})
	if !strings.Contains(kept, `line 5\n`) || !strings.Contains(kept, "changed") {
		t.Errorf("the copy has %.2000s", kept)
	}
	if data, err = os.ReadFile(file); err != nil || string(data) != saved {
		t.Errorf("the file has %.2000s, %v", data, err)
	}
	w.valid(t, "*.ipynb")
}
