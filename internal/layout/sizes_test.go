package layout

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Bounds on what a reader has to hold in mind at once.
const (
	maxPackage    = 2500 // lines of code of a package, without its tests
	maxFields     = 20   // of a struct
	maxFunction   = 70   // lines of code of a function
	maxParameters = 6    // of a function, without its receiver
)

// larger are the packages that may have more lines than maxPackage, and why.
var larger = map[string]string{
	"cmd/keyway":              "a file for each command",
	"internal/session/holder": "the one process that owns a job",
	"internal/agent":          "one thing: an agent",
	"internal/guest":          "one thing: a server",
	"internal/link":           "one thing: the ways to places",
	"internal/screen":         "one thing: a terminal",
	"internal/stream":         "one thing: a stream",
}

// fewer are the structs that may have fewer fields than maxFields.
var fewer = map[string]int{"internal/stream.Conn": 14}

// TestPackagesAreSmall checks the lines of code of each package. Comments and blank lines do not
// count, so the bound does not discourage them.
func TestPackagesAreSmall(t *testing.T) {
	sizes := map[string]int{}
	sources(t, ".go", func(path string, data []byte) {
		dir := filepath.ToSlash(filepath.Dir(path))
		if !strings.HasSuffix(path, "_test.go") && !strings.HasPrefix(dir, "test/") {
			sizes[dir] += codeLines(data)
		}
	})
	for _, dir := range slices.Sorted(maps.Keys(sizes)) {
		reason, may := larger[dir]
		switch n := sizes[dir]; {
		case n > maxPackage && !may:
			t.Errorf("%s has %d lines of code, more than %d: split it", dir, n, maxPackage)
		case n <= maxPackage && may:
			t.Errorf("%s has %d lines of code, and needs no exception (%s) any more", dir, n, reason)
		}
	}
}

// codeLines returns the number of lines of a source with more than comments.
func codeLines(source []byte) int {
	file := token.NewFileSet().AddFile("", -1, len(source))
	var s scanner.Scanner
	s.Init(file, source, nil, 0)
	lines := map[int]bool{}
	for {
		pos, tok, text := s.Scan()
		switch {
		case tok == token.EOF:
			return len(lines)
		case tok == token.SEMICOLON && text == "\n": // put in by the scanner
			continue
		}
		for i := range strings.Count(text, "\n") + 1 {
			lines[file.Line(pos)+i] = true
		}
	}
}

// TestStructsAreSmall checks the fields of each struct, also in tests.
func TestStructsAreSmall(t *testing.T) {
	seen := map[string]bool{}
	parsedAll(t, func(dir string, files *token.FileSet, file *ast.File, _ []byte) {
		named := map[*ast.StructType]string{}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				if s, ok := n.Type.(*ast.StructType); ok {
					named[s] = dir + "." + n.Name.Name
				}
			case *ast.StructType:
				name := named[n]
				seen[name] = true
				if got, most := n.Fields.NumFields(), cmp.Or(fewer[name], maxFields); got > most {
					t.Errorf("%s: a struct %s has %d fields, more than %d: group them", files.Position(n.Pos()), name, got, most)
				}
			}
			return true
		})
	})
	for name := range fewer {
		if !seen[name] {
			t.Errorf("there is no struct %s any more: take it off the list", name)
		}
	}
}

func TestFunctionsAreShort(t *testing.T) {
	parsed(t, func(_ string, files *token.FileSet, file *ast.File, source []byte) {
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			begin, end := files.Position(f.Type.Pos()), files.Position(f.End())
			if n := codeLines(source[begin.Offset:end.Offset]); n > maxFunction {
				t.Errorf("%s: %s has %d lines of code, more than %d: give its parts names", begin, f.Name.Name, n, maxFunction)
			}
		}
	})
}

func TestParametersAreFew(t *testing.T) {
	parsed(t, func(_ string, files *token.FileSet, file *ast.File, _ []byte) {
		for pos, n := range parameters(file) {
			if n > maxParameters {
				t.Errorf("%s: a function has %d parameters, more than %d: group those that belong together", files.Position(pos), n, maxParameters)
			}
		}
	})
}

// parameters returns the number of parameters of each type of a function in the file: of functions,
// methods, function literals, and what interfaces demand.
func parameters(file *ast.File) map[token.Pos]int {
	counts := map[token.Pos]int{}
	ast.Inspect(file, func(n ast.Node) bool {
		if f, ok := n.(*ast.FuncType); ok {
			counts[f.Params.Pos()] = f.Params.NumFields()
		}
		return true
	})
	return counts
}

// parsed calls use for each file of the source that people wrote, tests aside.
func parsed(t *testing.T, use func(dir string, files *token.FileSet, file *ast.File, source []byte)) {
	t.Helper()
	parsedAll(t, func(dir string, files *token.FileSet, file *ast.File, source []byte) {
		if !strings.HasSuffix(files.Position(file.Pos()).Filename, "_test.go") {
			use(dir, files, file, source)
		}
	})
}

// parsedAll calls use for each file of the source that people wrote.
func parsedAll(t *testing.T, use func(dir string, files *token.FileSet, file *ast.File, source []byte)) {
	t.Helper()
	sources(t, ".go", func(path string, data []byte) {
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, data, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if !ast.IsGenerated(file) {
			use(filepath.ToSlash(filepath.Dir(path)), files, file, data)
		}
	})
}

// TestSizesAreCounted checks the counting of lines and parameters.
func TestSizesAreCounted(t *testing.T) {
	const source = "package p // a name\n\n// f is short.\nfunc f() string { /* not\nlong */\n\treturn `two\nlines`\n}\n"
	if got := codeLines([]byte(source)); got != 5 {
		t.Errorf("%d lines of code, not 5", got)
	}
	const functions = "package p\n\nfunc (r r) f(a, b int, c string, _ ...int)\n\ntype i interface{ g(int, string) }\n\nvar h = func() {}\n"
	file, err := parser.ParseFile(token.NewFileSet(), "", functions, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Values(parameters(file))); !slices.Equal(got, []int{0, 2, 4}) {
		t.Errorf("functions with %d parameters, not 0, 2 and 4", got)
	}
}
