package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// TestEnginesAreListedOnce checks that no text or list spells out the engines, because a new engine
// would be missing in it.
func TestEnginesAreListedOnce(t *testing.T) {
	sources(t, ".go", func(path string, data []byte) {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "test"+string(filepath.Separator)) || path == filepath.Join("internal", "keyway", "engines.go") {
			return
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, data, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && listsEngines(lit.Value) {
				t.Errorf("%s: %.80s: list the engines by keyway.Engines", files.Position(lit.Pos()), lit.Value)
			}
			return true
		})
	})
}

// listsEngines reports whether a literal names all engines.
func listsEngines(literal string) bool {
	text, err := strconv.Unquote(literal)
	if err != nil {
		return false
	}
	for _, name := range keyway.EngineNames() {
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(text) {
			return false
		}
	}
	return true
}
