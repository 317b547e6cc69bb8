package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func toAnother(string, string) error { return syscall.EXDEV }

// below returns each file below a directory with its mode and its text.
func below(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		var text []byte
		if !info.IsDir() {
			text, err = os.ReadFile(path)
		}
		all[strings.TrimPrefix(path, dir)] = info.Mode().String() + " " + string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestAMoveToAnotherFileSystem kills a move at each of its steps and repeats it. It checks that
// every file then exists once, with its mode, and that another workspace inherits nothing more.
func TestAMoveToAnotherFileSystem(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const taken = "kernels.to-X"
	for killed, left := range map[string]func(old, dir string){
		"not at all": func(string, string) {},
		"with a note of what it takes": func(old, dir string) {
			must(os.WriteFile(filepath.Join(dir, "kernels.from"), []byte(filepath.Join(old, taken)), 0o600))
		},
		"in the copy": func(old, dir string) {
			must(os.WriteFile(filepath.Join(dir, "kernels.from"), []byte(filepath.Join(old, taken)), 0o600))
			must(os.Rename(filepath.Join(old, "kernels"), filepath.Join(old, taken)))
			must(os.MkdirAll(filepath.Join(dir, "kernels.part/b"), 0o700))
		},
		"with a copy": func(old, dir string) {
			must(os.WriteFile(filepath.Join(dir, "kernels.from"), []byte(filepath.Join(old, taken)), 0o600))
			must(os.Rename(filepath.Join(old, "kernels"), filepath.Join(old, taken)))
			must(copyTree(filepath.Join(old, taken), filepath.Join(dir, "kernels")))
			must(os.Remove(filepath.Join(old, taken, "a/00000001-000000"))) // of what it removes last
		},
	} {
		t.Run(killed, func(t *testing.T) {
			old, dir, other := t.TempDir(), t.TempDir(), t.TempDir()
			must(os.MkdirAll(filepath.Join(old, "kernels/a"), 0o700))
			must(os.WriteFile(filepath.Join(old, "kernels/a/00000001-000000"), []byte("output"), 0o600))
			must(os.WriteFile(filepath.Join(old, "kernels/readable"), nil, 0o640))
			want := below(t, filepath.Join(old, "kernels"))
			left(old, dir)
			if killed != "not at all" && killed != "with a note of what it takes" {
				if err := move(filepath.Join(old, "kernels"), filepath.Join(other, "kernels"), os.Rename); !os.IsNotExist(err) {
					t.Errorf("another workspace inherits it: %v", err)
				}
			}
			must(move(filepath.Join(old, "kernels"), filepath.Join(dir, "kernels"), toAnother))
			if got := below(t, filepath.Join(dir, "kernels")); !maps.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
			if all := below(t, old); len(all) != 1 {
				t.Errorf("left behind: %v", all)
			}
			if all := below(t, dir); len(all) != 1+len(want) {
				t.Errorf("beside it: %v", all)
			}
		})
	}
	t.Run("a file", func(t *testing.T) {
		old, dir := t.TempDir(), t.TempDir()
		must(os.WriteFile(filepath.Join(old, "token"), []byte("secret"), 0o600))
		must(move(filepath.Join(old, "token"), filepath.Join(dir, "token"), toAnother))
		if all := below(t, dir); all["/token"] != "-rw------- secret" || len(all) != 2 {
			t.Errorf("%v", all)
		}
	})
	t.Run("another was first", func(t *testing.T) {
		old, dir := t.TempDir(), t.TempDir()
		must(os.WriteFile(filepath.Join(dir, "token.from"), []byte(filepath.Join(old, "token.to-X")), 0o600))
		must(move(filepath.Join(old, "token"), filepath.Join(dir, "token"), toAnother))
		if all := below(t, dir); len(all) != 1 {
			t.Errorf("%v", all)
		}
	})
}

// TestNothingToInherit checks a user without a home directory, and one whose home directory cannot
// be read.
func TestNothingToInherit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_STATE_HOME", "")
	for _, home := range []string{"", file} {
		t.Setenv("HOME", home)
		if err := inherit(t.TempDir()); err != nil {
			t.Errorf("HOME=%q: %v", home, err)
		}
	}
}
