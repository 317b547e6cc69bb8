//go:build linux

package words

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Whatever runs in a workspace can put what it likes in place of a session's files.
// No command waits for that, and the sessions beside it are listed.
func TestFilesThatAreNone(t *testing.T) {
	for kind, put := range map[string]func(path string) error{
		"a named pipe": func(path string) error { return unix.Mkfifo(path, 0o600) },
		"a link":       func(path string) error { return os.Symlink("/dev/tty", path) },
		"a directory":  func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		l := newLab(t)
		l.ok("run", "-T", "--as", "good", "--", "echo", "fine")
		l.ok("run", "-T", "--as", "bad", "--", "echo", "gone")
		files, err := os.ReadDir(l.session("bad").Path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			path := filepath.Join(l.session("good").Path, "..", "bad", f.Name())
			aside := path + ".aside"
			if err := os.Rename(path, aside); err != nil {
				t.Fatal(err)
			}
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			within(t, kind+" for "+f.Name(), func() {
				if got := l.ok("ls"); !strings.Contains(got, "good") {
					t.Errorf("%s for %s: ls prints %q", kind, f.Name(), got)
				}
				l.keyway("logs", "bad")
				l.keyway("wait", "bad")
			})
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(aside, path); err != nil {
				t.Fatal(err)
			}
		}
	}
}
