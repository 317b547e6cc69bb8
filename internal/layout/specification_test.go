package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestSpecificationIsHeld checks that every promise of docs/SPECIFICATION.md names what holds it:
// existing tests, a section of make bench, a target of the Makefile, or the word pending.
func TestSpecificationIsHeld(t *testing.T) {
	doc := document(t, "docs/SPECIFICATION.md")
	tests, promised := testFunctions(t), 0
	for _, row := range promises(doc) {
		promised++
		if problem := row.problem(tests, document(t, "docs/BENCHMARKS.md"), document(t, "Makefile")); problem != "" {
			t.Errorf("docs/SPECIFICATION.md: %q: %s", row.promise, problem)
		}
	}
	if promised < 20 {
		t.Errorf("docs/SPECIFICATION.md has only %d promises: has the form of its tables changed?", promised)
	}
}

// TestSpecificationCheckRefuses checks that the check refuses invalid rows.
func TestSpecificationCheckRefuses(t *testing.T) {
	tests := map[string][]string{"internal/stream": {"TestFaults"}}
	const benchmarks, makefile = "<!-- make bench: bulk -->", ".PHONY: size\nsize: release\n"
	for held, sound := range map[string]bool{
		"`internal/stream.TestFaults`":                                true,
		"`internal/stream.TestFaults`, `internal/stream.TestNothing`": false,
		"`internal/screen.TestFaults`":                                false,
		"`TestFaults`":                                                false,
		"`make bench ONLY=bulk`":                                      true,
		"`make bench ONLY=none`":                                      false,
		"`make size`":                                                 true,
		"`make nothing`":                                              false,
		"*pending*":                                                   true,
		"*pending*: a machine with a GPU":                             true,
		"somebody tried it":                                           false,
		"":                                                            false,
	} {
		row := promise{"a promise", held}
		if problem := row.problem(tests, benchmarks, makefile); (problem == "") != sound {
			t.Errorf("%q: %q", held, problem)
		}
	}
}

// TestSpecificationGivesTheSizes checks that SPECIFICATION.md has the bounds that make size checks.
func TestSpecificationGivesTheSizes(t *testing.T) {
	var promised, checked []float64
	for _, row := range regexp.MustCompile("(?m)^\\|[^|]+\\|([^|]+)\\| `make size` \\|$").FindAllStringSubmatch(document(t, "docs/SPECIFICATION.md"), -1) {
		for _, n := range regexp.MustCompile(`([\d.]+) MB`).FindAllStringSubmatch(row[1], -1) {
			megabytes, _ := strconv.ParseFloat(n[1], 64)
			promised = append(promised, megabytes)
		}
	}
	for _, n := range regexp.MustCompile(`(?m)^MAX_\w+ *= (\d+)$`).FindAllStringSubmatch(document(t, "Makefile"), -1) {
		bytes, _ := strconv.ParseFloat(n[1], 64)
		checked = append(checked, bytes/1e6)
	}
	if len(checked) == 0 || !slices.Equal(promised, checked) {
		t.Errorf("SPECIFICATION.md promises %v MB, and make size checks %v", promised, checked)
	}
}

// promise is a row of a table of the specification.
type promise struct{ promise, held string }

// promises returns the rows of all tables with three columns.
func promises(doc string) []promise {
	var rows []promise
	for line := range strings.Lines(doc) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], "-") {
			continue
		}
		row := promise{strings.TrimSpace(cells[1]), strings.TrimSpace(cells[3])}
		if row.held != "held by" {
			rows = append(rows, row)
		}
	}
	return rows
}

var quoted = regexp.MustCompile("`([^`]*)`")

// problem returns the fault of the row's last column, or "".
func (p promise) problem(tests map[string][]string, benchmarks, makefile string) string {
	names := quoted.FindAllStringSubmatch(p.held, -1)
	if len(names) == 0 && !strings.HasPrefix(p.held, "*pending*") {
		return "nothing holds it, and it is not pending"
	}
	for _, m := range names {
		if section, ok := strings.CutPrefix(m[1], "make bench ONLY="); ok {
			if !strings.Contains(benchmarks, "<!-- make bench: "+section+" -->") {
				return "docs/BENCHMARKS.md has no section " + section
			}
			continue
		}
		if target, ok := strings.CutPrefix(m[1], "make "); ok {
			if !strings.Contains(makefile, "\n"+target+":") {
				return "the Makefile has no target " + target
			}
			continue
		}
		dot := strings.LastIndex(m[1], ".")
		if dot < 0 || !slices.Contains(tests[m[1][:dot]], m[1][dot+1:]) {
			return "there is no test " + m[1]
		}
	}
	return ""
}

// testFunctions returns the tests, fuzz targets and benchmarks of each folder.
func testFunctions(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string]map[string]bool{}
	sources(t, "_test.go", func(file string, data []byte) {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, data, 0)
		if err != nil {
			t.Fatal(err)
		}
		dir := path.Dir(filepath.ToSlash(file))
		for _, decl := range parsed.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !isTest(f.Name.Name) {
				continue
			}
			if found[dir] == nil {
				found[dir] = map[string]bool{}
			}
			found[dir][f.Name.Name] = true
		}
	})
	tests := map[string][]string{}
	for dir, names := range found {
		tests[dir] = slices.Collect(maps.Keys(names))
	}
	return tests
}

func isTest(name string) bool {
	return strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz") || strings.HasPrefix(name, "Benchmark")
}

// document returns the text of a file, by its path from the module's root.
func document(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
