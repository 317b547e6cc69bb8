package agent

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// All mutants are built at once: each changed function is there a second time
// under another name, and the first one calls it if the environment says so.

// activeMutant is the environment variable that chooses a mutant; none chooses no mutant.
const (
	activeMutant = "KEYWAY_MUTANT"
	none         = -1
)

func suffix(i int) string { return fmt.Sprintf("_mutant%d", i) }

// chooser is a source file that is added to each package.
const chooser = "package %s\n\nimport \"os\"\n\nvar activeMutant_ = os.Getenv(%q)\n"

// suite is the tests of a package with the mutants in them.
type suite struct{ pkg, program string }

// has reports whether the suite's program contains a mutant of a file below internal/. This
// package's suite contains all.
func (s suite) has(file string) bool { return s.pkg == "agent" || s.pkg == filepath.Dir(file) }

// buildMutants returns the tests of each package that has mutants. This package is the last,
// because the others' tests are faster.
func buildMutants(t *testing.T) (suites []suite) {
	t.Helper()
	byFile := map[string][]int{}
	for i, m := range mutants {
		byFile[m.file] = append(byFile[m.file], i)
	}
	dir := t.TempDir()
	replace := map[string]string{}
	put := func(path, text string) {
		changed := filepath.Join(dir, strings.ReplaceAll(path, "/", "_"))
		absolute, err := filepath.Abs(filepath.Join("..", path))
		if err == nil {
			err = os.WriteFile(changed, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		replace[absolute] = changed
	}
	var packages []string
	for file, numbers := range byFile {
		source, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		text, err := withMutants(string(source), numbers)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		put(file, text)
		if pkg := filepath.Dir(file); !slices.Contains(packages, pkg) {
			packages = append(packages, pkg)
			put(pkg+"/chooser.go", fmt.Sprintf(chooser, pkg, activeMutant))
		}
	}
	slices.Sort(packages)
	slices.Reverse(packages)
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range packages {
		s := suite{pkg, filepath.Join(dir, pkg+".test")}
		build := exec.Command("go", "test", "-c", "-vet=off", "-overlay", filepath.Join(dir, "overlay.json"), "-o", s.program, "keyway/internal/"+pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("the mutants do not build: %s", out)
		}
		suites = append(suites, s)
	}
	return suites
}

// withMutants returns a file with the mutants added to it.
func withMutants(source string, numbers []int) (string, error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, "", source, parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	at := func(p token.Pos) int { return fset.Position(p).Offset }
	insert := map[int]string{} // by offset
	var more strings.Builder
	for _, i := range numbers {
		m := mutants[i]
		if n := strings.Count(source, m.old); n != 1 {
			return "", fmt.Errorf("%q is there %d times: the mutant has to follow the code", m.old, n)
		}
		f := enclosing(tree, at, strings.Index(source, m.old))
		if f == nil {
			return "", fmt.Errorf("%q is in no function", m.old)
		}
		call, err := callTo(f, suffix(i))
		if err != nil {
			return "", err
		}
		insert[at(f.Body.Lbrace)+1] += fmt.Sprintf("\nif activeMutant_ == %q { %s }\n", suffix(i), call)
		name := at(f.Name.End())
		body := strings.Replace(source[name:at(f.End())], m.old, m.new, 1)
		more.WriteString("\n" + source[at(f.Pos()):name] + suffix(i) + body + "\n")
	}
	var b strings.Builder
	last := 0
	for offset := range len(source) {
		if text, ok := insert[offset]; ok {
			b.WriteString(source[last:offset] + text)
			last = offset
		}
	}
	return b.String() + source[last:] + more.String(), nil
}

func enclosing(tree *ast.File, at func(token.Pos) int, offset int) *ast.FuncDecl {
	for _, d := range tree.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && at(f.Pos()) <= offset && offset < at(f.End()) {
			return f
		}
	}
	return nil
}

// callTo returns a statement that passes a call of f on to its other version.
func callTo(f *ast.FuncDecl, suffix string) (string, error) {
	target := f.Name.Name + suffix
	if f.Recv != nil {
		if len(f.Recv.List[0].Names) != 1 {
			return "", fmt.Errorf("the receiver of %s has no name", f.Name.Name)
		}
		target = f.Recv.List[0].Names[0].Name + "." + target
	}
	var args []string
	for _, p := range f.Type.Params.List {
		if len(p.Names) == 0 {
			return "", fmt.Errorf("a parameter of %s has no name", f.Name.Name)
		}
		for _, name := range p.Names {
			args = append(args, name.Name)
		}
	}
	call := target + "(" + strings.Join(args, ", ") + ")"
	if f.Type.Results == nil {
		return call + "; return", nil
	}
	return "return " + call, nil
}
