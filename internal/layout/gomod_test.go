package layout

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// testBlock is the line of go.mod above the block of what only tests need.
const testBlock = "// What only tests need. No program links it.\nrequire (\n"

// TestModulesOfTests checks that the block of go.mod for tests has exactly the modules that no
// program links.
func TestModulesOfTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	main, tests, found := strings.Cut(string(text), testBlock)
	if !found {
		t.Fatal("go.mod has no block of what only tests need")
	}
	_, main, _ = strings.Cut(main, "require (\n")
	var linked []pkg
	for _, goos := range systems {
		linked = append(linked, goList(t, goos, "-deps", "./cmd/...")...)
	}
	for block, want := range map[string]bool{main: true, tests: false} {
		for _, path := range required(block) {
			if got := slices.ContainsFunc(linked, func(p pkg) bool { return p.ImportPath == path || strings.HasPrefix(p.ImportPath, path+"/") }); got != want {
				t.Errorf("%s is linked by a program: %t, but go.mod has it in the other block", path, got)
			}
		}
	}
}

// required returns the modules of a block, up to its end.
func required(block string) (paths []string) {
	block, _, _ = strings.Cut(block, "\n)")
	for line := range strings.Lines(block) {
		if path, _, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			paths = append(paths, path)
		}
	}
	return paths
}
