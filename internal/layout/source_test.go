package layout

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// sources calls use for each file of the source whose name ends so.
func sources(t *testing.T, suffix string, use func(path string, data []byte)) {
	t.Helper()
	dir, found := root(t), 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			// Files that git ignores are not source.
			switch rel, _ := filepath.Rel(dir, path); rel {
			case ".git", "bin", "dist", "tmp":
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, suffix) || !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		use(rel, data)
		found++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 {
		t.Fatalf("no file ends in %s", suffix)
	}
}

func TestFormat(t *testing.T) {
	sources(t, ".go", func(path string, data []byte) {
		if formatted, err := format.Source(data); err != nil || !bytes.Equal(formatted, data) {
			t.Errorf("%s: gofmt would change it (%v)", path, err)
		}
	})
}

func TestNothingPutOff(t *testing.T) {
	putOff := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	for _, suffix := range []string{".go", ".md", "Makefile"} {
		sources(t, suffix, func(path string, data []byte) {
			if found := putOff.Find(data); found != nil {
				t.Errorf("%s: has a %s: do it, or say in the documentation that it is not done", path, found)
			}
		})
	}
}

func TestPackagesAreDocumented(t *testing.T) {
	for _, p := range append(goList(t, "linux", "./test/..."), ours(t, "linux")...) {
		name := filepath.Base(p.ImportPath)
		switch {
		case p.Doc == "" && onlyTests(t, p.Dir):
		case p.Doc == "":
			t.Errorf("%s has no package comment", p.ImportPath)
		case !strings.HasPrefix(p.Doc, "Package "+name+" ") && !strings.HasPrefix(strings.ToLower(p.Doc), "command "+name+" ") && !strings.HasPrefix(strings.ToLower(p.Doc), name+" "):
			t.Errorf("%s: its comment does not begin with its name: %s", p.ImportPath, p.Doc)
		}
	}
}

// onlyTests reports whether a directory has only test files: go list returns no comment of such a
// package.
func onlyTests(t *testing.T, dir string) bool {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if !strings.HasSuffix(path, "_test.go") {
			return false
		}
	}
	return true
}

// TestNoReplace checks that no module is replaced. A replacement makes "go install" of a release
// impossible, and hides the real source.
func TestNoReplace(t *testing.T) {
	for _, name := range []string{"go.mod", "tools/go.mod"} {
		data, err := os.ReadFile(filepath.Join(root(t), name))
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(`(?m)^\s*replace\b`).Match(data) {
			t.Errorf("%s replaces a module", name)
		}
	}
}

// TestExitCodesAreListed checks that docs/EXIT-CODES.md lists each exit code: they are a promise to
// scripts.
func TestExitCodesAreListed(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join(root(t), "docs", "EXIT-CODES.md"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := declaredKinds(t)
	if len(kinds) < 10 {
		t.Fatalf("only %d kinds found", len(kinds))
	}
	for _, k := range kinds {
		row := fmt.Sprintf("| %d | `%s` |", keyway.ExitCode(keyway.Errorf(k, "")), k)
		if !strings.Contains(string(doc), row) {
			t.Errorf("docs/EXIT-CODES.md lacks the exit code %s", row)
		}
	}
}

// declaredKinds returns the constants of type keyway.Kind, read from the source
// so that none is forgotten.
func declaredKinds(t *testing.T) []keyway.Kind {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root(t), nouns, "error.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []keyway.Kind
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Kind" {
			for _, v := range spec.Values {
				if s, err := strconv.Unquote(v.(*ast.BasicLit).Value); err == nil {
					kinds = append(kinds, keyway.Kind(s))
				}
			}
		}
		return false
	})
	return kinds
}

// TestLinksInDocuments checks that links between the documents, and from them to files, lead to
// existing files.
func TestLinksInDocuments(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)
	sources(t, ".md", func(path string, data []byte) {
		for _, m := range link.FindAllSubmatch(data, -1) {
			target := string(m[1])
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root(t), filepath.Dir(path), target)); err != nil {
				t.Errorf("%s links to %s, which is not there", path, target)
			}
		}
	})
}

// TestPathsInDocuments checks that documents name existing files and folders. A part in capitals
// stands for a name to choose, and * for several.
func TestPathsInDocuments(t *testing.T) {
	path := regexp.MustCompile("`((?:internal|cmd|test|tools|docs)/[A-Za-z0-9_./*-]+)`")
	named := 0
	sources(t, ".md", func(file string, data []byte) {
		for _, m := range path.FindAllSubmatch(data, -1) {
			name := string(m[1])
			if isTest(name[strings.LastIndex(name, ".")+1:]) || strings.Contains(name, "NAME") {
				continue
			}
			named++
			if found, err := filepath.Glob(filepath.Join(root(t), name)); err != nil || len(found) == 0 {
				t.Errorf("%s names %s, which is not there", file, name)
			}
		}
	})
	if named < 20 {
		t.Errorf("only %d paths found: has the form of the documents changed?", named)
	}
}

// TestFilesInDocuments checks that each file of Go that a document names without its folder exists
// in some folder.
func TestFilesInDocuments(t *testing.T) {
	var all []string
	sources(t, ".go", func(file string, _ []byte) { all = append(all, "/"+filepath.ToSlash(file)) })
	name := regexp.MustCompile("`([a-z0-9_/]+\\.go)`")
	named := 0
	sources(t, ".md", func(file string, data []byte) {
		for _, m := range name.FindAllSubmatch(data, -1) {
			named++
			if !slices.ContainsFunc(all, func(path string) bool { return strings.HasSuffix(path, "/"+string(m[1])) }) {
				t.Errorf("%s names %s, which is in no folder", file, m[1])
			}
		}
	})
	if named < 50 {
		t.Errorf("only %d files found: has the form of the documents changed?", named)
	}
}
