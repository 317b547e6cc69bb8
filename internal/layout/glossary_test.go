package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGlossaryNames checks that each name of the code in GLOSSARY.md's tables, as `package.Name`,
// is declared: a type, function, value, method or field of that package.
func TestGlossaryNames(t *testing.T) {
	declared := declaredNames(t)
	row := regexp.MustCompile(`(?m)^\| [^|]+ \| ([^|]+) \|`)
	name := regexp.MustCompile("`([A-Za-z]+)\\.([A-Za-z]+)`")
	checked := 0
	for _, r := range row.FindAllStringSubmatch(document(t, "docs/GLOSSARY.md"), -1) {
		for _, n := range name.FindAllStringSubmatch(r[1], -1) {
			names := declared[n[1]]
			if names == nil || n[2] == "jsonl" || n[2] == "yaml" {
				continue // a type and its method, or a file of the user's
			}
			if checked++; !names[n[2]] {
				t.Errorf("GLOSSARY.md names %s.%s, which is not declared", n[1], n[2])
			}
		}
	}
	if checked < 40 {
		t.Errorf("only %d names were found in GLOSSARY.md", checked)
	}
}

// TestGlossaryIsInOrder checks the alphabetical order of the table of things.
func TestGlossaryIsInOrder(t *testing.T) {
	things, _, _ := strings.Cut(document(t, "docs/GLOSSARY.md"), "## Processes")
	last := ""
	for _, row := range regexp.MustCompile(`(?m)^\| ([^|]+) \|`).FindAllStringSubmatch(things, -1)[1:] {
		if name := strings.ToLower(row[1]); name <= last {
			t.Errorf("GLOSSARY.md has %q after %q", name, last)
		} else {
			last = name
		}
	}
}

// declaredNames returns what each package of the module declares, by the package's name.
func declaredNames(t *testing.T) map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for _, dir := range []string{"internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root(t), dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			if all[file.Name.Name] == nil {
				all[file.Name.Name] = map[string]bool{}
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					all[file.Name.Name][n.Name.Name] = true
					return false
				case *ast.TypeSpec:
					all[file.Name.Name][n.Name.Name] = true
				case *ast.ValueSpec:
					for _, id := range n.Names {
						all[file.Name.Name][id.Name] = true
					}
				case *ast.Field:
					for _, id := range n.Names {
						all[file.Name.Name][id.Name] = true
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestArchitectureShowsWhereToLook checks that each file in the table "Where to look" of
// ARCHITECTURE.md has the name beside it.
func TestArchitectureShowsWhereToLook(t *testing.T) {
	_, table, _ := strings.Cut(document(t, "docs/ARCHITECTURE.md"), "\n## Where to look\n")
	table, _, _ = strings.Cut(table, "\n## ")
	places := regexp.MustCompile("`(\\w+)` \\(`([\\w/]+\\.go)`\\)").FindAllStringSubmatch(table, -1)
	for _, p := range places {
		if !regexp.MustCompile(`\b` + p[1] + `\b`).MatchString(document(t, p[2])) {
			t.Errorf("%s has no %s", p[2], p[1])
		}
	}
	if len(places) < 20 {
		t.Errorf("only %d names were found", len(places))
	}
}
