package sshconfig

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

const testInclude = "/home/me/.local/state/keyway/ssh_config"

const testLine = `Include "/home/me/.local/state/keyway/ssh_config"`

// homeWith returns a home directory whose ~/.ssh/config has the content, and the path of a file to
// include.
func homeWith(t *testing.T, content string) (home, include string) {
	t.Helper()
	home = t.TempDir()
	include = filepath.Join(t.TempDir(), "ssh_config")
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".ssh", "config"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return home, include
}

func readConfig(t *testing.T, home string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(home, ".ssh", "config"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func plan(t *testing.T, home, include string) Change {
	t.Helper()
	c, err := PlanInclude(home, include)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func apply(t *testing.T, home, include string) {
	t.Helper()
	if err := plan(t, home, include).Apply(); err != nil {
		t.Fatal(err)
	}
	if c := plan(t, home, include); c.Needed() {
		t.Errorf("not settled after one change: %s", c.Why)
	}
}

func TestIncludeEdits(t *testing.T) {
	const host = "Host gpu1\n  ProxyJump bastion\n"
	for _, c := range []struct {
		name, old, new string
		state          includeState
	}{
		{"empty", "", testLine + "\n", notIncluded},
		{"hosts", host, testLine + "\n" + host, notIncluded},
		{"no end of line", "Host x", testLine + "\nHost x", notIncluded},
		{"comment first", "# mine\n" + host, testLine + "\n# mine\n" + host, notIncluded},
		{"windows", "Host x\r\n  User y\r\n", testLine + "\r\nHost x\r\n  User y\r\n", notIncluded},
		{"there", testLine + "\n" + host, "", includedFirst},
		{"there, windows", testLine + "\r\n" + host, "", includedFirst},
		{"there, other spelling", "# x\n\n  include=~/.local/state/keyway/ssh_config # ours\n" + host, "", includedFirst},
		{"there, by a wildcard", "Include ~/.local/state/keyway/*_config\n", "", includedFirst},
		{"there, after another tool's", "Include ~/.orbstack/ssh/config\n" + testLine + "\n" + host, "", includedFirst},
		{"there, with another", "Include a " + testInclude + "\n", "", includedFirst},
		{"below a Host", host + "\n" + testLine + "\n", testLine + "\n" + host + "\n", includedLate},
		{"below Match", "Match all\n" + testLine + "\n", testLine + "\nMatch all\n", includedLate},
		{"below a setting", "ForwardAgent yes\n" + testLine + "\n", testLine + "\nForwardAgent yes\n", includedLate},
		{"below, with another", "User x\nInclude a " + testInclude + "\n", testLine + "\nUser x\nInclude a " + testInclude + "\n", includedLate},
		{"in a comment", "# " + testLine + "\n", testLine + "\n# " + testLine + "\n", notIncluded},
		{"another file", "Include \"" + testInclude + ".old\"\n", testLine + "\nInclude \"" + testInclude + ".old\"\n", notIncluded},
	} {
		text := parseConfig([]byte(c.old))
		_, state := text.find("/home/me", testInclude)
		if state != c.state {
			t.Errorf("%s: state %d, want %d", c.name, state, c.state)
		}
		if state == includedFirst {
			continue
		}
		if got := string(result(text.edits("/home/me", testInclude, testLine))); got != c.new {
			t.Errorf("%s: got\n%q\nwant\n%q", c.name, got, c.new)
		}
	}
}

// FuzzInclude checks that the rest of the file stays unchanged, that a second change does nothing,
// and that the removal restores the file.
func FuzzInclude(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "Host a\n", "Host a\r\n\tUser b\r\n", "Host a\n" + testLine + "\n", testLine, "Include \"unclosed",
		"Include=" + testInclude, "Match exec \"test -f 'x\"\n", "\x00\xff\n\r\r\n", "Include ~/.local/state/keyway/* # x\nHost *\n", "Include [a-\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, old []byte) {
		text := parseConfig(old)
		if joined := strings.Join(text.lines, ""); joined != string(old) {
			t.Fatalf("the lines are not the file: %q", joined)
		}
		_, state := text.find("/home/me", testInclude)
		if state == includedFirst {
			return
		}
		edits := text.edits("/home/me", testInclude, testLine)
		diff("config", edits)
		added := result(edits)
		if _, state := parseConfig(added).find("/home/me", testInclude); state != includedFirst {
			t.Errorf("after the change the state is %d: %q", state, added)
		}
		removed := result(parseConfig(added).edits("/home/me", testInclude, ""))
		if want := result(text.edits("/home/me", testInclude, "")); !bytes.Equal(removed, want) {
			t.Errorf("got %q, want %q", removed, want)
		}
		if state == notIncluded && !bytes.Equal(removed, old) {
			t.Errorf("the removal does not undo the change: %q, was %q", removed, old)
		}
	})
}

func TestPlanShowsDiff(t *testing.T) {
	home, include := homeWith(t, "# one\n# two\n# three\n# four\nHost \x1b[31mred\n  User x\n"+`Include "`+"INCLUDE"+`"`+"\n# end\n")
	content := strings.Replace(readConfig(t, home), "INCLUDE", include, 1)
	if err := os.WriteFile(filepath.Join(home, ".ssh", "config"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	c := plan(t, home, include)
	if !strings.Contains(c.Why, "line 7") {
		t.Errorf("why: %s", c.Why)
	}
	path := filepath.Join(home, ".ssh", "config")
	want := "--- " + path + "\n+++ " + path + "\n" +
		"@@ -1,3 +1,4 @@\n+Include \"" + include + "\"\n # one\n # two\n # three\n" +
		"@@ -4,5 +5,4 @@\n # four\n Host \uFFFD[31mred\n   User x\n-Include \"" + include + "\"\n # end\n"
	// the two hunks touch, so they are one
	want = strings.Replace(want, "@@ -1,3 +1,4 @@", "@@ -1,8 +1,8 @@", 1)
	want = strings.Replace(want, "@@ -4,5 +5,4 @@\n", "", 1)
	if got := c.Diff(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if readConfig(t, home) != content {
		t.Error("planning changed the file")
	}
}

func TestApply(t *testing.T) {
	home, include := homeWith(t, "Host gpu1\n")
	path := filepath.Join(home, ".ssh", "config")
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	apply(t, home, include)
	if got, want := readConfig(t, home), includeLine(include)+"\nHost gpu1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o640 {
		t.Errorf("mode %o", st.Mode().Perm())
	}
	removal, err := PlanRemoval(home, include)
	if err != nil || !removal.Needed() {
		t.Fatalf("%v, %v", removal, err)
	}
	if err := removal.Apply(); err != nil {
		t.Fatal(err)
	}
	if got := readConfig(t, home); got != "Host gpu1\n" {
		t.Errorf("got %q", got)
	}
	if again, err := PlanRemoval(home, include); err != nil || again.Needed() {
		t.Errorf("%v, %v", again, err)
	}
	if left, _ := filepath.Glob(filepath.Join(home, ".ssh", ".config.*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestApplyRefusesWhatHasChanged checks that changes that another program has made to the file
// since the plan stay.
func TestApplyRefusesWhatHasChanged(t *testing.T) {
	home, include := homeWith(t, "Host gpu1\n")
	path := filepath.Join(home, ".ssh", "config")
	change, err := PlanInclude(home, include)
	if err != nil || !change.Needed() {
		t.Fatal(change, err)
	}
	const theirs = "Host gpu1\nHost gpu2\n"
	if err := os.WriteFile(path, []byte(theirs), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := change.Apply(); !keyway.Is(err, keyway.BadConfig) || keyway.AsError(err).Next == "" {
		t.Errorf("got %v", err)
	}
	if got := readConfig(t, home); got != theirs {
		t.Errorf("it was written over: %q", got)
	}
}

func TestApplyMakesFiles(t *testing.T) {
	home, include := t.TempDir(), filepath.Join(t.TempDir(), "ssh_config")
	if removal, err := PlanRemoval(home, include); err != nil || removal.Needed() {
		t.Errorf("%v, %v", removal, err)
	}
	apply(t, home, include)
	for path, mode := range map[string]os.FileMode{".ssh": 0o700, ".ssh/config": 0o600} {
		if st, err := os.Stat(filepath.Join(home, path)); err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, st, err)
		}
	}
}

// TestApplyFollowsLink checks a configuration that is a link, because dotfile managers keep the
// file elsewhere.
func TestApplyFollowsLink(t *testing.T) {
	home, include := homeWith(t, "")
	dotfiles := t.TempDir()
	target := filepath.Join(dotfiles, "ssh_config")
	if err := os.WriteFile(target, []byte("Host a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(home, ".ssh", "config")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	apply(t, home, include)
	if st, _ := os.Lstat(path); st.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}
	if data, _ := os.ReadFile(target); !bytes.HasSuffix(data, []byte("Host a\n")) || !bytes.HasPrefix(data, []byte("Include")) {
		t.Errorf("the target is %q", data)
	}
	if err := os.Remove(target); err != nil {
		t.Fatal(err)
	}
	_, err := PlanInclude(home, include)
	wantKind(t, err, keyway.BadConfig)
}

func TestRefusals(t *testing.T) {
	for name, content := range map[string]string{
		"UTF-16":          "\xff\xfeH\x00o\x00s\x00t\x00",
		"byte order mark": "\xef\xbb\xbfHost a\n",
		"NUL":             "Host a\x00\n",
		"too large":       strings.Repeat("#\n", maxUserConfig/2+1),
	} {
		home, include := homeWith(t, content)
		_, err := PlanInclude(home, include)
		if err == nil {
			t.Errorf("%s was accepted", name)
			continue
		}
		wantKind(t, err, keyway.BadConfig)
		if readConfig(t, home) != content {
			t.Errorf("%s: the file changed", name)
		}
	}
}

func TestRefusedFiles(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"directory": func(path string) error {
			os.Remove(path)
			return os.Mkdir(path, 0o700)
		},
		"no directory": func(path string) error {
			os.RemoveAll(filepath.Dir(path))
			return os.WriteFile(filepath.Dir(path), nil, 0o600)
		},
		"link to nowhere": func(path string) error {
			os.Remove(path)
			return os.Symlink("nowhere", path)
		},
	} {
		home, include := homeWith(t, "")
		if err := spoil(filepath.Join(home, ".ssh", "config")); err != nil {
			t.Fatal(err)
		}
		_, err := PlanInclude(home, include)
		if err == nil {
			t.Errorf("%s was accepted", name)
			continue
		}
		if e := wantKind(t, err, keyway.BadConfig); !strings.Contains(e.Next, "Include") {
			t.Errorf("%s: the next step does not name the line: %s", name, e.Next)
		}
	}
}

func TestIncludePathsRefused(t *testing.T) {
	for _, path := range []string{"relative", "/a b/%h/x", "/a*/x", "/a\nb", `/a"b`, "/$HOME/x", "/a[b]/x"} {
		_, err := PlanInclude(t.TempDir(), path)
		if !keyway.Is(err, keyway.BadConfig) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestChangedMeanwhile(t *testing.T) {
	home, include := homeWith(t, "Host a\n")
	c := plan(t, home, include)
	const edited = "Host a\nHost b\n"
	if err := os.WriteFile(filepath.Join(home, ".ssh", "config"), []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	wantKind(t, c.Apply(), keyway.BadConfig)
	if got := readConfig(t, home); got != edited {
		t.Errorf("the user's edit was lost: %q", got)
	}
}
