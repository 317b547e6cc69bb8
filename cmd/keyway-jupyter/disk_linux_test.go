package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keyway/internal/jupyter/wire"
	"keyway/test/await"
)

// TestFullDisk fills the disk that has the journal. It checks that a connected page receives all
// messages, including those that are too large for the operating system's buffer, and that the cell
// ends. A page that connects later receives all of them, too, and so does one after the disk has
// room again and the program was killed.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	w := (&world{environ: []string{"XDG_STATE_HOME=" + disk}}).start(t)
	k := w.front.kernel(t)
	a := w.front.open(t, k, "", wire.V1)
	a.ended(a.run("from IPython.display import display\nprint('before')", ""))
	filler := filepath.Join(disk, "filler")
	if err := os.WriteFile(filler, make([]byte, 2<<20), 0o600); err == nil {
		t.Fatal("2 MB fit")
	}
	id := a.run("for i in range(5):\n    print('line', i, flush=True)\n    display('%d ' % i + 'x' * 300_000, display_id='d%d' % i)\nprint('END')", "")
	check := func(when string, p *page) {
		t.Helper()
		text := p.ended(id)
		p.mu.Lock()
		defer p.mu.Unlock()
		if want := "line 0\nline 1\nline 2\nline 3\nline 4\nEND\n"; text != want || len(p.cells[id].display) != 5 {
			t.Errorf("%s: %d displays and %.300q", when, len(p.cells[id].display), text)
		}
		for name, text := range p.cells[id].display {
			if len(text) < 300_000 {
				t.Errorf("%s: %s has %d bytes", when, name, len(text))
			}
		}
	}
	check("who was there", a)
	a.close()
	b := w.front.open(t, k, "", wire.JSON) // a session that has confirmed all messages gets none of them again
	check("back on the full disk", b)
	b.close()
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	await.That(t, "what the kernel has said on the disk", func() bool {
		files, _ := filepath.Glob(filepath.Join(disk, "keyway/jupyter/kernels", k, "*.0*"))
		size := int64(0)
		for _, f := range files {
			if info, err := os.Stat(f); err == nil {
				size += info.Size()
			}
		}
		return size > 1_500_000
	})
	w.kill(t)
	check("killed, when there was room", w.front.open(t, k, a.session, wire.V1))
	if said, err := os.ReadFile(w.log); err != nil || !strings.Contains(string(said), "cannot be written down") {
		t.Errorf("the log does not tell: %v", err)
	}
}
