package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// TestBoundsAreNotBypassed checks that no type embeds bytes.Buffer. A type that bounds Write would
// still have the unbounded ReadFrom, which io.Copy prefers: internal/bounded has neither.
func TestBoundsAreNotBypassed(t *testing.T) {
	sources(t, ".go", func(path string, data []byte) {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "test/") {
			return
		}
		for _, at := range embedsBuffer(t, path, data) {
			t.Errorf("%s: bytes.Buffer is embedded; use internal/bounded, or a field with a name", at)
		}
	})
}

func TestEmbeddedBuffersAreFound(t *testing.T) {
	const source = `package p
type a struct{ bytes.Buffer }
type b struct {
	*bytes.Buffer
	limit int
}
type c struct{ kept bytes.Buffer }
`
	if got := embedsBuffer(t, "p.go", []byte(source)); len(got) != 2 {
		t.Errorf("found %q", got)
	}
}

// embedsBuffer returns the places where a struct embeds bytes.Buffer.
func embedsBuffer(t *testing.T, path string, data []byte) (found []string) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, data, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		made, ok := n.(*ast.StructType)
		if !ok {
			return true
		}
		for _, field := range made.Fields.List {
			if len(field.Names) == 0 && isBuffer(field.Type) {
				found = append(found, files.Position(field.Pos()).String())
			}
		}
		return true
	})
	return found
}

// isBuffer reports whether typ is bytes.Buffer or a pointer to one.
func isBuffer(typ ast.Expr) bool {
	if pointer, ok := typ.(*ast.StarExpr); ok {
		typ = pointer.X
	}
	selected, ok := typ.(*ast.SelectorExpr)
	if !ok || selected.Sel.Name != "Buffer" {
		return false
	}
	pkg, ok := selected.X.(*ast.Ident)
	return ok && pkg.Name == "bytes"
}
