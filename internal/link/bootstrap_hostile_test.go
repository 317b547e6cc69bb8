//go:build linux

package link

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"keyway/internal/keyway"
)

// stranger is another user of the place.
const stranger = 61235

// evil returns a program that leaves a mark and greets as a node.
func evil(mark string) string {
	return fmt.Sprintf("#!/bin/sh\necho ran > %s\necho keyway-node 1 evil\ncat >/dev/null\n", mark)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// plant puts a program that is not the user's choice where the bootstrap looks.
func plant(t *testing.T, dir, name, mark string, uid int) {
	t.Helper()
	check(t, os.MkdirAll(dir, 0o700))
	path := filepath.Join(dir, name)
	check(t, os.WriteFile(path, []byte(evil(mark)), 0o755))
	check(t, os.Chmod(path, 0o755))
	check(t, os.Chown(path, uid, uid))
}

// TestBootstrapRunsOnlyItsOwn lets another user prepare the first directory that the bootstrap
// examines, in each way that file systems allow. It checks that the bootstrap runs no program of
// that user.
func TestBootstrapRunsOnlyItsOwn(t *testing.T) {
	programs := programOf(greeter)
	name := "keyway-" + programs.hash(runtime.GOARCH)
	me := os.Getuid()
	for what, prepare := range map[string]func(t *testing.T, cache, mark string){
		"a directory of another's": func(t *testing.T, cache, mark string) {
			plant(t, cache, name, mark, me) // a link to a file of the user's, say
			check(t, os.Chown(cache, stranger, stranger))
		},
		"a program of another's": func(t *testing.T, cache, mark string) { plant(t, cache, name, mark, stranger) },
		"a link to a directory of the user's": func(t *testing.T, cache, mark string) {
			other := filepath.Join(t.TempDir(), "other")
			plant(t, other, name, mark, me)
			check(t, os.Symlink(other, cache))
		},
		"a directory that all may write to": func(t *testing.T, cache, mark string) {
			plant(t, cache, name, mark, me)
			check(t, os.Chmod(cache, 0o777))
		},
		"a directory that the group may write to": func(t *testing.T, cache, mark string) {
			plant(t, cache, name, mark, me)
			check(t, os.Chmod(cache, 0o770))
		},
		"a directory in the program's place": func(t *testing.T, cache, mark string) {
			check(t, os.MkdirAll(filepath.Join(cache, name), 0o755))
		},
	} {
		for shellName, shell := range map[string][]string{"dash": {"dash"}, "bash": {"bash"}, "busybox": {"busybox", "sh"}, "ksh": {"mksh"}} {
			if _, err := exec.LookPath(shell[0]); err != nil {
				continue
			}
			t.Run(what+", "+shellName, func(t *testing.T) {
				base, run, mark := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "mark")
				prepare(t, filepath.Join(base, "keyway"), mark)
				said, stderr, err := runScript(t, shell, programs, false, "XDG_CACHE_HOME="+base, "XDG_RUNTIME_DIR="+run)
				if _, statErr := os.Lstat(mark); statErr == nil {
					t.Fatal("the other user's program was run")
				}
				// It may refuse, but only after it has tried.
				if err != nil && !keyway.Is(err, keyway.NoSpace) {
					t.Errorf("%v; %s", err, stderr)
				}
				if err == nil && len(said) == 0 {
					t.Error("nothing was copied, so something that was there was run")
				}
			})
		}
	}
}

// TestBootstrapWhileItsDirectoryIsExchanged replaces the bootstrap's directory by another user's
// while the bootstrap runs one of its commands. It checks that no program of that user is run.
func TestBootstrapWhileItsDirectoryIsExchanged(t *testing.T) {
	programs := programOf(greeter)
	name := "keyway-" + programs.hash(runtime.GOARCH)
	for _, command := range []string{"uname", "id", "ls", "mkdir", "chmod", "rm", "head", "gzip", "sha256sum", "mv"} {
		for _, kept := range []bool{false, true} { // whether the program is there already
			t.Run(fmt.Sprintf("%s, kept: %v", command, kept), func(t *testing.T) {
				base, run, bin, mark := t.TempDir(), t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "mark")
				check(t, os.Chmod(base, 0o777))
				cache, theirs, away := filepath.Join(base, "keyway"), filepath.Join(base, "theirs"), filepath.Join(base, "away")
				check(t, os.Mkdir(cache, 0o700))
				if kept {
					check(t, os.WriteFile(filepath.Join(cache, name), []byte(greeter), 0o700))
				}
				plant(t, theirs, name, mark, os.Getuid())
				check(t, os.Chown(theirs, stranger, stranger))
				check(t, os.Chmod(theirs, 0o777))
				real, err := exec.LookPath(command)
				check(t, err)
				// After the command as well as before it: the script continues with either.
				wrapper := fmt.Sprintf("#!/bin/sh\n%q \"$@\"; s=$?\nif [ -d %q ] && [ -d %q ]; then /bin/mv %q %q && /bin/mv %q %q; fi\nexit $s\n",
					real, cache, theirs, cache, away, theirs, cache)
				check(t, os.WriteFile(filepath.Join(bin, command), []byte(wrapper), 0o755))
				_, stderr, err := runScript(t, []string{"sh"}, programs, false,
					"PATH="+bin+":"+os.Getenv("PATH"), "XDG_CACHE_HOME="+base, "XDG_RUNTIME_DIR="+run)
				if _, statErr := os.Lstat(mark); statErr == nil {
					t.Fatal("the other user's program was run")
				}
				if err != nil {
					t.Errorf("%v; %s", err, stderr)
				}
				for _, dir := range []string{theirs, cache} {
					if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o777 {
						continue
					}
					if left, _ := os.ReadDir(dir); len(left) != 1 {
						t.Errorf("written into the other user's directory: %v", left)
					}
				}
			})
		}
	}
}

// TestBootstrapInAnOddDirectory checks that the name of a directory is not taken for shell text.
func TestBootstrapInAnOddDirectory(t *testing.T) {
	base := filepath.Join(t.TempDir(), "two words; touch $HOME *")
	check(t, os.Mkdir(base, 0o700))
	kept := filepath.Join(base, "keep")
	check(t, os.WriteFile(kept, nil, 0o600))
	programs := programOf(greeter)
	for range 2 {
		if _, stderr, err := runScript(t, []string{"sh"}, programs, false, "XDG_CACHE_HOME="+base); err != nil {
			t.Fatalf("%v; %s", err, stderr)
		}
	}
	if left, err := os.ReadDir(filepath.Join(base, "keyway")); err != nil || len(left) != 1 {
		t.Errorf("in its directory: %v, %v", left, err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}

// TestBootstrapHandsOnTheLoginsSettings checks that the program does not inherit the bootstrap's
// own settings.
func TestBootstrapHandsOnTheLoginsSettings(t *testing.T) {
	programs := programOf("#!/bin/sh\necho \"keyway-node 1 $(umask) ${LC_ALL-none}\" > \"$XDG_CACHE_HOME/said\"\necho keyway-node 1 test\ncat >/dev/null\n")
	base := t.TempDir()
	for range 2 { // sent, then kept
		if _, stderr, err := runScript(t, []string{"sh", "-c", "umask 027; exec sh \"$@\"", "sh"}, programs, false, "XDG_CACHE_HOME="+base); err != nil {
			t.Fatalf("%v; %s", err, stderr)
		}
		if said, err := os.ReadFile(filepath.Join(base, "said")); err != nil || string(said) != "keyway-node 1 0027 none\n" {
			t.Errorf("it runs with %q, %v", said, err)
		}
	}
}

// forever repeats a text without end.
type forever struct{ text string }

func (f forever) Read(p []byte) (int, error) { return copy(p, f.text), nil }

// TestEndlessChatterEnds checks that reading the endless output of a place is bounded.
func TestEndlessChatterEnds(t *testing.T) {
	for _, text := range []string{
		"\n", "\r\n", " \n", "x\n", "x", "\x00\n", "keyway-bootstrap run /x\n", "keyway-bootstrap need x86_64 cache /x\n",
		"keyway-bootstrap need aarch64 cache /x\n", "keyway-bootstrap need x86_64 cache /x\nkeyway-bootstrap run /x\n", "keyway-nodes 1\n",
	} {
		programs := programOf(greeter)
		programs["amd64"], programs["arm64"] = programs[runtime.GOARCH], programs[runtime.GOARCH]
		ended := make(chan error, 1)
		go func() {
			ended <- greetedBy("gpu1", scriptWord, forever{text}, programs)
		}()
		select {
		case err := <-ended:
			if err == nil || strings.TrimSpace(err.Error()) == "" {
				t.Errorf("%q: %v", text, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%q is listened to without end", text)
		}
	}
}

// TestBootstrapWordsAreWords checks that no part of the bootstrap's output, which a place can
// choose, is shown as a sentence of keyway's.
func TestBootstrapWordsAreWords(t *testing.T) {
	const evil = "x;evil→curl\x1b[31m"
	for _, text := range []string{evil, strings.Repeat("x", 2000), "\u202eevil", "evil’s\tword"} {
		for _, line := range []string{
			"keyway-bootstrap unsupported " + text + " x86_64", "keyway-bootstrap unsupported Linux " + text, "keyway-bootstrap need " + text + " cache /x",
			"keyway-bootstrap need x86_64 fallback " + text, "keyway-bootstrap need x86_64 " + text + " /x", "keyway-bootstrap " + text, "keyway-node 99 " + text,
		} {
			programs := programOf(greeter)
			programs["amd64"] = programs[runtime.GOARCH]
			var said []string
			report := func(p keyway.Progress) { said = append(said, p.Message) }
			_, err := bootstrap{"gpu1", scriptWord, programs, report, func(string) {}}.greeted(bufio.NewReader(strings.NewReader(line+"\n")), io.Discard)
			if err == nil {
				t.Errorf("%.80q is taken for a greeting", line)
				continue
			}
			for _, sentence := range append(said, err.Error()) {
				if strings.Contains(sentence, "evil") || len(sentence) > 400 {
					t.Errorf("%.80q: keyway says %.200q", line, sentence)
				}
			}
		}
	}
}

// TestBootstrapAsksOnce checks that the link sends a place the program once, however often the
// place asks.
func TestBootstrapAsksOnce(t *testing.T) {
	programs := programOf(greeter)
	programs["amd64"] = programs[runtime.GOARCH]
	asks := strings.Repeat("keyway-bootstrap need x86_64 cache /x\n", 3) + "keyway-node 1 test\n"
	if err := greetedBy("gpu1", scriptWord, strings.NewReader(asks), programs); !keyway.Is(err, keyway.VersionMismatch) {
		t.Errorf("got %v", err)
	}
}
