//go:build unix

package account

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// directory is a getent that answers with a text, first on PATH.
func directory(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "getent"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

func TestLookupAsksTheDirectory(t *testing.T) {
	directory(t, `[ "$1 $2" = "passwd 70001" ] && printf '%s\n' 'CORP\ada:*:70001:70001:Ada, of sums:/home/CORP/ada:/bin/zsh'`)
	if got, ok := Lookup(70001); !ok || got != (Entry{`CORP\ada`, "/home/CORP/ada", "/bin/zsh"}) {
		t.Errorf("%+v, %v", got, ok)
	}
	if got, ok := Lookup(70002); ok {
		t.Errorf("a number that nobody has: %+v", got)
	}
}

// TestLookupBelievesLittle checks a machine without a user of that name, one without getent, and
// one whose getent is slow or lies.
func TestLookupBelievesLittle(t *testing.T) {
	for what, script := range map[string]string{
		"another user": `echo 'root:x:0:0::/root:/bin/sh'`,
		"two lines":    `echo 'a:x:70001:1::/:/bin/sh'; echo 'b:x:70001:1::/:/bin/sh'`,
		"no entry":     `echo`,
		"an option":    `echo '-rf:x:70001:1::/:/bin/sh'`,
		"a blank":      `echo 'a b:x:70001:1::/:/bin/sh'`,
		"controls":     `printf 'a\033[2J:x:70001:1::/:/bin/sh\n'`,
		"too long":     `printf 'a:x:70001:1:%20000s:/:/bin/sh\n' x`,
	} {
		directory(t, script)
		if got, ok := Lookup(70001); ok {
			t.Errorf("%s: %+v", what, got)
		}
	}
	directory(t, `printf 'ada:x:70001:1::relative:/bin/\033sh\n'`)
	if got, ok := Lookup(70001); !ok || got != (Entry{Name: "ada"}) {
		t.Errorf("paths that are none: %+v, %v", got, ok)
	}
	t.Setenv("PATH", t.TempDir())
	if got, ok := Lookup(0); !ok || got.Name != "root" {
		t.Errorf("without getent: %+v, %v", got, ok)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("ada@corp.example.com:x:1:1::/home/ada:/bin/sh\n", "1")
	f.Fuzz(func(t *testing.T, line, uid string) {
		e, ok := parse(line, uid)
		if ok && (!keyway.IsLoginName(e.Name) || strings.ContainsAny(e.Name+e.Home+e.Shell, ":\n\x1b")) {
			t.Errorf("%q: %+v", line, e)
		}
	})
}
