//go:build linux

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module makes a module with test/lab/suite and a package for each outcome of tests, and returns
// its folder. Each test adds a line with its name to the file ran.
func module(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write := func(name, text string) {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	suite, err := os.ReadFile("suite")
	if err != nil {
		t.Fatal(err)
	}
	write("test/lab/suite", string(suite))
	tools, err := filepath.Abs("../../tools")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(tools, filepath.Join(root, "tools")); err != nil {
		t.Fatal(err)
	}
	write("go.mod", "module m\n\ngo 1.26\n")
	write("ran/ran.go", fmt.Sprintf(`package ran

import (
	"os"
	"strings"
	"testing"
)

// Times adds a test to the file, and returns how often it is there.
func Times(t *testing.T) int {
	f, err := os.OpenFile(%q, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	f.WriteString(t.Name() + "\n")
	f.Close()
	text, _ := os.ReadFile(f.Name())
	return strings.Count(string(text), t.Name()+"\n")
}
`, filepath.Join(root, "ran.txt")))
	tests := func(name string, bodies ...string) {
		text := "package " + name + "\n\nimport (\n\t\"m/ran\"\n\t\"os\"\n\t\"testing\"\n)\n\nvar _ = os.Exit\n"
		for i, body := range bodies {
			text += fmt.Sprintf("\nfunc Test_%s_%d(t *testing.T) { n := ran.Times(t); _ = n; %s }\n", name, i, body)
		}
		write(name+"/"+name+"_test.go", text)
	}
	tests("fine", "")
	tests("once", "", `t.Run("part", func(t *testing.T) { if n < 2 { t.Error("broken") } })`)
	tests("twice", "if n < 3 { t.Error() }")
	tests("always", "t.Error()", "")
	tests("panics", `if n < 2 { go panic("lost"); select {} }`, "")
	tests("exits", "if n < 2 { os.Exit(3) }", "")
	tests("builds", "undefined()")
	tests("kills", "if n == 2 { p, _ := os.FindProcess(os.Getppid()); p.Kill() }; if n < 3 { t.Error() }") // go test
	tests("many", strings.Split(strings.Repeat("t.Error();", 11), ";")[:11]...)
	return root
}

// TestSuiteRunsAgainWhatFailed checks which tests the suite runs again, its report about them, and
// that it fails if one of them never passed.
func TestSuiteRunsAgainWhatFailed(t *testing.T) {
	root := module(t)
	flaky := "Each is a defect"
	for name, c := range map[string]struct {
		packages string
		passes   bool
		ran      string // tests of the packages, without "Test_", and how often they ran
		says     []string
	}{
		"all pass":          {"./fine", true, "fine_0:1", nil},
		"a test fails once": {"./fine ./once", true, "fine_0:1 once_0:1 once_1:2", []string{flaky, "\nm/once Test_once_1\n"}},
		"a test fails twice": {"./twice ./once", true, "once_0:1 once_1:2 twice_0:3",
			[]string{flaky, "\nm/once Test_once_1\nm/twice Test_twice_0\n"}},
		"a test always fails":                     {"./always ./once", false, "always_0:3 always_1:1 once_0:1 once_1:2", nil},
		"a package panics, and another ends":      {"./panics ./exits", true, "exits_0:2 exits_1:1 panics_0:2 panics_1:1", []string{flaky, "\nm/exits (whole)\nm/panics (whole)\n"}},
		"go test is killed":                       {"./kills ./twice", false, "kills_0:2 twice_0:1", nil},
		"a package cannot be built":               {"./builds ./fine", false, "fine_0:1", nil},
		"more fail than an accident accounts for": {"./many", false, "many_0:1 many_10:1 many_1:1 many_2:1 many_3:1 many_4:1 many_5:1 many_6:1 many_7:1 many_8:1 many_9:1", nil},
	} {
		t.Run(name, func(t *testing.T) {
			_ = os.Remove(filepath.Join(root, "ran.txt"))
			cmd := exec.Command(filepath.Join(root, "test/lab/suite"), strings.Fields(c.packages)...)
			out, err := cmd.CombinedOutput()
			if (err == nil) != c.passes {
				t.Errorf("ends with %v", err)
			}
			if got := ran(t, root); got != c.ran {
				t.Errorf("ran %s, want %s", got, c.ran)
			}
			for _, text := range c.says {
				if !strings.Contains(string(out), text) {
					t.Errorf("does not say %q", text)
				}
			}
			if c.says == nil && strings.Contains(string(out), flaky) {
				t.Error("tells of tests that passed when run again")
			}
			if t.Failed() {
				t.Logf("%s", out)
			}
		})
	}
}

// ran returns the tests that ran and how often, sorted, as "once_0:1 once_1:2".
func ran(t *testing.T, root string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "ran.txt"))
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, name := range strings.Fields(string(text)) {
		times[strings.TrimPrefix(name, "Test_")]++
	}
	var all []string
	for name, n := range times {
		all = append(all, fmt.Sprintf("%s:%d", name, n))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}
