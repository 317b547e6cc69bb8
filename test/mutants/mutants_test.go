package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestTable checks the tables against the source: each change can be made, and each row names an
// existing test. make mutants runs the mutants themselves.
func TestTable(t *testing.T) {
	t.Chdir("../..")
	tests := map[string]string{}
	for _, area := range areas {
		for _, m := range area.mutants {
			t.Run(area.name+"/"+m.claim, func(t *testing.T) {
				if _, err := m.change(); err != nil {
					t.Error(err)
				}
				if m.old == m.new {
					t.Error("the change changes nothing")
				}
				name, _, _ := strings.Cut(strings.Trim(m.run, "^$"), "/")
				if name = strings.Trim(name, "^$"); name == "" {
					t.Fatal("names no test")
				}
				list, ok := tests[m.pkg]
				if !ok {
					list = sources(t, m.pkg)
					tests[m.pkg] = list
				}
				for _, name := range strings.Split(strings.Trim(name, "()"), "|") {
					if !strings.Contains(list, "func "+strings.Trim(name, "^$")+"(") && !strings.Contains(list, "func "+name) {
						t.Errorf("%s has no test %s", m.pkg, name)
					}
				}
			})
		}
	}
}

// sources returns the text of a package's test files for this system.
func sources(t *testing.T, pkg string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", `{{$d := .Dir}}{{range .TestGoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}`, "./"+pkg).Output()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, file := range strings.Fields(string(out)) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b)
	}
	return text.String()
}
