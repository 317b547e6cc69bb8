package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// kernelFiles are paths that only a few files of the programs may name, so that what the
// kernel says there is read in one place.
var kernelFiles = []struct {
	what  string
	path  *regexp.Regexp // of a string in the source
	where []string       // patterns of paths (filepath.Match)
}{
	{
		what: "names a file that tells of a process",
		// A process's own descriptors, memory, mounts and users are its own affair.
		path: regexp.MustCompile(`^/proc(/|$)`),
		where: []string{
			"internal/proctree/*.go",
			"internal/mux/home.go",                  // a link to a working directory
			"internal/engine/docker/environment.go", // a directory where no packages are
		},
	},
	{
		what:  "opens pseudo-terminals",
		path:  regexp.MustCompile(`^/dev/(ptmx|pts)`),
		where: []string{"internal/pty/*.go"},
	},
}

// ownAffairs are the files below /proc that every package may name.
var ownAffairs = regexp.MustCompile(`^/proc/(self/(fd|exe|comm|maps|smaps|mountinfo|uid_map)\b|net/)`)

func TestKernelFilesHaveOneReader(t *testing.T) {
	used := map[string]bool{}
	sources(t, ".go", func(path string, data []byte) {
		path = filepath.ToSlash(path)
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "test/") || strings.HasPrefix(path, "internal/engine/enginetest/") {
			return
		}
		for _, text := range literals(t, path, data) {
			for _, k := range kernelFiles {
				if !k.path.MatchString(text) || ownAffairs.MatchString(text) {
					continue
				}
				used[k.what] = true
				if !slices.ContainsFunc(k.where, func(p string) bool { ok, err := filepath.Match(p, path); return ok && err == nil }) {
					t.Errorf("%s %s: %s", path, k.what, text)
				}
			}
		}
	})
	for _, k := range kernelFiles {
		if !used[k.what] {
			t.Errorf("nothing %s any more: take it off the list", k.what)
		}
	}
}

// literals are the strings of a file.
func literals(t *testing.T, path string, data []byte) (texts []string) {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), path, data, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, text)
		}
		return true
	})
	return texts
}
