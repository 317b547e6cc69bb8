package laptop

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestJupyterProgram checks the scripts with each shell: the program is sent once, is accepted only
// with its hash, and is written only to the user's own directory.
func TestJupyterProgram(t *testing.T) {
	for _, c := range []struct {
		shell  []string
		inHome bool // a workspace's Home is there
	}{{[]string{"dash"}, false}, {[]string{"bash"}, false}, {[]string{"busybox", "sh"}, false}, {[]string{"dash"}, true}, {[]string{"bash"}, true}, {[]string{"busybox", "sh"}, true}} {
		shell := c.shell
		t.Run(fmt.Sprint(shell[0], c.inHome), func(t *testing.T) {
			home, dir := t.TempDir(), ".cache/keyway"
			if c.inHome {
				if dir = "workspace/data/programs"; os.MkdirAll(filepath.Join(home, "workspace/data"), 0o700) != nil {
					t.Fatal("no Home")
				}
			}
			run := func(script string, stdin []byte, args ...string) string {
				cmd := exec.Command(shell[0], append(append(shell[1:], "-c", script, "sh"), args...)...)
				cmd.Env = []string{"HOME=" + home, "PATH=/usr/bin:/bin", "KEYWAY_HOME=" + filepath.Join(home, "workspace")}
				cmd.Stdin = bytes.NewReader(stdin)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				return strings.TrimSpace(string(out))
			}
			p := Pack([]byte("#!/bin/sh\nexit 0\n"))
			find := func() string { return run(findProgram, nil, p.Hash, p.Hash) }
			want := "have " + filepath.Join(home, dir, "keyway-jupyter-"+p.Hash)
			if got := find(); !strings.HasPrefix(got, "need ") {
				t.Fatalf("nothing is there: %q", got)
			}
			if got := run(takeProgram, p.Gzip[:len(p.Gzip)-9], p.Hash); !strings.HasSuffix(got, "broken") {
				t.Errorf("half of it: %q", got)
			}
			if got := run(takeProgram, Pack([]byte("another")).Gzip, p.Hash); !strings.HasSuffix(got, "broken") {
				t.Errorf("another program: %q", got)
			}
			if got := find(); !strings.HasPrefix(got, "need ") {
				t.Errorf("after these: %q", got)
			}
			if got := run(takeProgram, p.Gzip, p.Hash); got != want {
				t.Errorf("sent: %q", got)
			}
			if got := find(); got != want {
				t.Errorf("sent, and looked for: %q", got)
			}
			if err := os.WriteFile(strings.TrimPrefix(want, "have "), []byte("#!/bin/sh\nevil\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			if got := find(); !strings.HasPrefix(got, "need ") {
				t.Errorf("a changed program counts: %q", got)
			}
			if got := run(findProgram, nil, "-", "-"); !strings.HasPrefix(got, "no Linux") {
				t.Errorf("no program for it: %q", got)
			}
			// a directory that leads elsewhere
			if err := os.Rename(filepath.Join(home, dir), filepath.Join(home, "elsewhere")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(home, "elsewhere"), filepath.Join(home, dir)); err != nil {
				t.Fatal(err)
			}
			if got := find(); !strings.HasPrefix(got, "nowhere") {
				t.Errorf("a link: %q", got)
			}
		})
	}
	if strings.ContainsAny(findProgram+takeProgram, "'\\\n!") {
		t.Error("the scripts have something in them that a login shell reads between single quotes")
	}
}

// TestAwaitNews checks the script with each shell: it asks a program that can report news, and
// prints "gone" if none runs.
func TestAwaitNews(t *testing.T) {
	for _, shell := range [][]string{{"dash"}, {"bash"}, {"busybox", "sh"}} {
		home := t.TempDir()
		workspace := filepath.Join(home, "workspace")
		run := func() string {
			cmd := exec.Command(shell[0], append(shell[1:], "-c", awaitNews, "sh", "7")...)
			cmd.Env = []string{"HOME=" + home, "PATH=/usr/bin:/bin", "KEYWAY_HOME=" + workspace}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			return strings.TrimSpace(string(out))
		}
		if got := run(); got != "gone" {
			t.Errorf("%s: where nothing is: %q", shell, got)
		}
		for path, text := range map[string]string{
			".local/state/keyway/jupyter/where.json": "{}",
			".cache/keyway/keyway-jupyter-a":         "#!/bin/sh\necho an older one knows no news >&2; exit 2\n",
		} {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(home, path)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(home, path), []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if got := run(); got != "gone" {
			t.Errorf("%s: an older program: %q", shell, got)
		}
		if err := os.WriteFile(filepath.Join(home, ".cache/keyway/keyway-jupyter-b"), []byte("#!/bin/sh\necho \"$@\"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		if got := run(); got != "news 7" {
			t.Errorf("%s: %q", shell, got)
		}
		if err := os.MkdirAll(filepath.Join(workspace, "data/jupyter"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(home, ".local/state/keyway/jupyter/where.json"), filepath.Join(workspace, "data/jupyter/where.json")); err != nil {
			t.Fatal(err)
		}
		if got := run(); got != "news 7" {
			t.Errorf("%s: with the record in the workspace: %q", shell, got)
		}
		if err := os.Rename(filepath.Join(home, ".cache/keyway"), filepath.Join(workspace, "data/programs")); err != nil {
			t.Fatal(err)
		}
		if got := run(); got != "news 7" {
			t.Errorf("%s: with the programs in the workspace: %q", shell, got)
		}
	}
}
