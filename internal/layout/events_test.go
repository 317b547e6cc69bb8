package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestKindsOfEventsAreDeclared checks that every event of the agent has a kind and a verdict that
// internal/audit declares: programs that read logs need to know all of them.
func TestKindsOfEventsAreDeclared(t *testing.T) {
	sources(t, ".go", func(path string, data []byte) {
		dir := filepath.ToSlash(filepath.Dir(path))
		if !strings.HasSuffix(path, "_test.go") && (dir == "internal/audit" || dir == "internal/agent" || dir == "internal/agentd") {
			wantNoLiterals(t, path, data)
		}
	})
}

// wantNoLiterals fails for a kind or a verdict that is written out in a file.
func wantNoLiterals(t *testing.T, path string, data []byte) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, data, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		kv, ok := n.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		key, isName := kv.Key.(*ast.Ident)
		if lit, isText := kv.Value.(*ast.BasicLit); isName && isText && (key.Name == "Event" || key.Name == "Verdict") {
			t.Errorf("%s: %s: %s: use the constant of internal/audit", files.Position(lit.Pos()), key.Name, lit.Value)
		}
		return true
	})
}
