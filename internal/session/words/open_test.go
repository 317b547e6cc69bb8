//go:build linux

package words

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
)

// TestFilesThatAreNone checks that no command waits for files that a program of the workspace has
// put in place of a session's, and that other sessions are listed.
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

// TestLogsOfWhatNeverStarted checks that keyway logs refuses a session whose job never started,
// instead of printing an empty log.
func TestLogsOfWhatNeverStarted(t *testing.T) {
	l := newLab(t)
	l.ok("run", "-T", "--as", "good", "--", "echo", "fine")
	for _, dir := range []string{"empty", "half"} {
		if err := os.Mkdir(l.Path(keyway.Name(dir)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(l.Path("half"), "meta.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("good", l.Path("link")); err != nil {
		t.Fatal(err)
	}
	defer func() { // no holder of theirs has written a record
		for _, name := range []keyway.Name{"empty", "half", "link"} {
			os.RemoveAll(l.Path(name))
		}
	}()
	for _, name := range []string{"empty", "half", "link", "nothing"} {
		for _, options := range []string{"", "-f", "--raw", "--tail 3", "--since 1h"} {
			r := l.keyway(append(append([]string{"logs"}, strings.Fields(options)...), name)...)
			if r.code != 30 || r.out != "" || !strings.Contains(r.err, "train/"+name) {
				t.Errorf("logs %s %s: %+v", options, name, r)
			}
		}
	}
}
