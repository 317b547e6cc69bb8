package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// kernelFiles are paths that only a few files of the programs may name, so that each of the
// kernel's formats has one reader.
var kernelFiles = []reserved{
	{
		what: "names a file that tells of a process",
		// Every package may read its own process's descriptors, memory, mounts and users.
		match: regexp.MustCompile(`^/proc(/|$)`),
		where: []string{
			"internal/proctree/*.go",
			"internal/mux/home.go",                       // a link to a working directory
			"internal/engine/docker/contents/notable.go", // a directory where no packages are
		},
	},
	{
		what:  "opens pseudo-terminals",
		match: regexp.MustCompile(`^/dev/(ptmx|pts)`),
		where: []string{"internal/pty/*.go"},
	},
}

// ownAffairs are the files below /proc that every package may name.
var ownAffairs = regexp.MustCompile(`^/proc/(self/(fd|exe|comm|maps|smaps|mountinfo|uid_map)\b|net/)`)

func TestKernelFilesHaveOneReader(t *testing.T) {
	haveTheirPlace(t, kernelFiles, func(t *testing.T, path string, data []byte) []string {
		return slices.DeleteFunc(literals(t, path, data), ownAffairs.MatchString)
	})
}

// literals returns the strings of a file.
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
