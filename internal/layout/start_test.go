package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// compilesAtStart are the parts whose every process uses its regular expressions, and
// the generator of a table, which no program links.
var compilesAtStart = []string{"cmd/keyway-jupyter/", "internal/jupyter/", "internal/screen/widthgen.go", "test/", "tools/"}

// TestStartCompilesNothing checks that no package variable compiles a regular expression. Every
// process of a program would pay for it, in time and in memory, and most use none:
// internal/lazyregexp compiles expressions at their first use.
func TestStartCompilesNothing(t *testing.T) {
	sources(t, ".go", func(path string, data []byte) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, exempt := range compilesAtStart {
			if strings.HasPrefix(path, exempt) {
				return
			}
		}
		for _, at := range compiledAtStart(t, path, data) {
			t.Errorf("%s: a regular expression is compiled when the program starts; use internal/lazyregexp", at)
		}
	})
}

func TestCompiledAtStartIsFound(t *testing.T) {
	const source = `package p
var one = regexp.MustCompile("a")
var (
	two, three = regexp.MustCompile("b"), regexp.MustCompilePOSIX("c")
	four       = map[string]*regexp.Regexp{"d": regexp.MustCompile("e")}
	five       = func() *regexp.Regexp { return regexp.MustCompile("f") }
	six        = lazyregexp.New("g")
)
func f() { seven := regexp.MustCompile("h"); _ = seven }
`
	if got := compiledAtStart(t, "p.go", []byte(source)); len(got) != 4 {
		t.Errorf("found %q", got)
	}
}

// compiledAtStart returns the places where the initialisation of a package
// compiles a regular expression.
func compiledAtStart(t *testing.T, path string, data []byte) (found []string) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, data, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		if v, ok := d.(*ast.GenDecl); !ok || v.Tok != token.VAR {
			continue
		}
		ast.Inspect(d, func(n ast.Node) bool {
			if _, ok := n.(*ast.FuncLit); ok {
				return false // it runs when it is called
			}
			if call, ok := n.(*ast.SelectorExpr); ok && strings.HasPrefix(call.Sel.Name, "MustCompile") {
				if p, ok := call.X.(*ast.Ident); ok && p.Name == "regexp" {
					found = append(found, files.Position(call.Pos()).String())
				}
			}
			return true
		})
	}
	return found
}
