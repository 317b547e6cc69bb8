//go:build unix

package template

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"keyway/internal/keyway"
)

// TestIrregularTemplateFiles checks that an irregular file in the place of a template's is
// reported and never opened: a named pipe would block forever, and a device can do anything.
func TestIrregularTemplateFiles(t *testing.T) {
	kinds := map[string]func(path string) error{
		"a named pipe": func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a directory":  func(path string) error { return os.Mkdir(path, 0o700) },
		"a device":     func(path string) error { return os.Symlink("/dev/zero", path) },
		"a socket": func(path string) error {
			l, err := net.Listen("unix", path)
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		},
		"a link that leads nowhere": func(path string) error { return os.Symlink(path, path) },
	}
	for what, place := range kinds {
		for _, name := range []string{"keyway.yaml", "compose.yaml", ".devcontainer.json"} {
			dir, err := os.MkdirTemp("/tmp", "kw") // short, for the socket
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			file := filepath.Join(dir, name)
			if err := place(file); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				f := Finder{Dir: dir, Home: dir}
				all, problems := f.List()
				if len(all) == 0 || len(problems) != 1 || !keyway.Is(problems[0], keyway.BadConfig) || !strings.Contains(problems[0].Error(), file+" is "+what+", ") {
					t.Errorf("%s as %s: %d templates, %v", what, name, len(all), problems)
				}
				_, _, err := f.Only()
				if got := err != nil; got != (name == "keyway.yaml") {
					t.Errorf("%s as %s, without a template's name: %v", what, name, err)
				}
			}()
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Fatalf("%s as %s is waited for", what, name)
			}
		}
	}
}
