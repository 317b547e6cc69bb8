//go:build linux

package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGoVersion checks that a missing or outdated Go is reported in one sentence.
func TestGoVersion(t *testing.T) {
	for name, c := range map[string]struct{ script, says string }{
		"this one":              {`exec go "$@"`, ""},
		"a later one":           {`[ "$1" = env ] && echo go1.99.1`, ""},
		"one that knows go.mod": {`[ "$1" = version ] && echo go version go1.22.1 linux/amd64`, "Go 1.22.1 is too old"},
		"one from before":       {`case $1 in env) echo go1.19.8 ;; *) echo go version go1.19.8 linux/amd64 ;; esac`, "Go 1.19.8 is too old"},
		"none":                  {"", "there is no Go here"},
	} {
		t.Run(name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "go")
			if c.script != "" {
				if err := os.WriteFile(program, []byte("#!/bin/sh\n"+c.script+"\n"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("test/lab/goversion", program)
			cmd.Dir = "../.."
			out, err := cmd.CombinedOutput()
			if (err == nil) != (c.says == "") || !strings.Contains(string(out), c.says) || strings.Count(string(out), "\n") > 1 {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// TestWaiting checks that the script announces a slow command while it runs, and no fast one, and
// that the exit code is the command's.
func TestWaiting(t *testing.T) {
	said := filepath.Join(t.TempDir(), "said")
	f, err := os.Create(said)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	run := func(script string) (out string, code int) {
		cmd := exec.Command("./waiting", "at work", "sh", "-c", script, "sh", said)
		cmd.Stderr = f
		text, _ := cmd.Output()
		return string(text), cmd.ProcessState.ExitCode()
	}
	if out, code := run("echo quick; exit 3"); out != "quick\n" || code != 3 {
		t.Errorf("%q, %d", out, code)
	}
	if text, _ := os.ReadFile(said); len(text) > 0 {
		t.Errorf("of a quick command it says %q", text)
	}
	if out, code := run(`until grep -qF 'at work..' "$1"; do sleep 0.1; done; echo slow; exit 7`); out != "slow\n" || code != 7 {
		t.Errorf("%q, %d", out, code)
	}
	if text, _ := os.ReadFile(said); !strings.HasSuffix(string(text), ".\n") {
		t.Errorf("of a slow command it says %q", text)
	}
}
