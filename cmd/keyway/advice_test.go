package main

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
	"unicode"

	"keyway/internal/keyway"
)

// steps returns all steps that errors can have, read from the source.
func steps(t *testing.T) (all []keyway.Step) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "..", "internal", "keyway", "advice.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			for _, v := range spec.Values {
				if word, err := strconv.Unquote(v.(*ast.BasicLit).Value); err == nil {
					all = append(all, keyway.Step(word))
				}
			}
		}
		return true
	})
	return all
}

// TestEveryStepHasASentence checks that every step has a sentence that takes its values, each as
// one word of a command.
func TestEveryStepHasASentence(t *testing.T) {
	all := steps(t)
	if len(all) < 50 {
		t.Fatalf("only %d steps found: has the form of advice.go changed?", len(all))
	}
	for _, step := range all {
		said := ""
		for n := range maxAbout + 1 {
			about := make([]string, n)
			for i := range about {
				about[i] = "a; b"
			}
			if s := sentence(keyway.Advice{Step: step, About: about}, ""); s != "" {
				if said != "" {
					t.Errorf("%s has a sentence for several numbers of values", step)
				}
				said = s
			}
		}
		_, raw := ofCommands[step]
		if said == "" || strings.Contains(said, "%!") {
			t.Errorf("%s: %q", step, said)
		}
		if bare := strings.ReplaceAll(said, "'a; b'", ""); !raw && strings.Contains(bare, "a; b") {
			t.Errorf("%s: a value is not quoted: %q", step, said)
		}
	}
	for step := range sentences {
		if !slices.Contains(all, step) {
			t.Errorf("%s is no step", step)
		}
	}
}

// words returns the words of a sentence, without punctuation.
func words(sentence string) []string {
	return strings.FieldsFunc(sentence, func(r rune) bool { return strings.ContainsRune(" \n;,?", r) })
}

// TestAdviceNamesThePlace checks that advice about a workspace names its place, because another
// place may have a workspace of that name. The place is the one that gave the advice, whatever
// its text says.
func TestAdviceNamesThePlace(t *testing.T) {
	for step := range ofWorkspaces {
		for about, at := range map[string]keyway.Place{"train": "gpu2", "gpu2/train": "", "gpu1/train": "gpu2", "a; b/train": "gpu2"} {
			said := sentence(keyway.Advice{Step: step, About: []string{about, "other"}}, at)
			if said == "" {
				said = sentence(keyway.Advice{Step: step, About: []string{about}}, at)
			}
			named := words(said)
			for i, word := range named {
				if word == "train" && (i == 0 || named[i-1] != "--name") || strings.Contains(word, "gpu1") || strings.Contains(word, "b/train") {
					t.Errorf("%s of %q at %q: %q", step, about, at, said)
				}
			}
			if len(named) == 0 {
				t.Errorf("%s says nothing of %q", step, about)
			}
		}
	}
	about := regexp.MustCompile(`(ssh|keyway (ssh|start|stop|rm|forget|add|attach|logs|wait|run|open|ports|kill|send|mux on)) %`)
	for step, text := range sentences {
		if about.MatchString(text) {
			t.Errorf("%s is about a workspace, and names no place: %q", step, text)
		}
	}
}

// TestStepsAreGivenThePlace checks that a caller that knows the place passes it with the step.
func TestStepsAreGivenThePlace(t *testing.T) {
	seen := 0
	for _, dir := range []string{"laptop", "link", "sshconfig"} {
		files, err := filepath.Glob(filepath.Join("..", "..", "internal", dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			seen += adviceCalls(t, path)
		}
	}
	if seen < 10 {
		t.Errorf("only %d steps found: has Advise another name?", seen)
	}
}

// adviceCalls counts the steps about workspaces that a file advises.
func adviceCalls(t *testing.T, path string) (n int) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		if !ok || len(call.Args) < 2 {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || method.Sel.Name != "Advise" {
			return true
		}
		step, ok := call.Args[0].(*ast.SelectorExpr)
		if !ok || !aboutAWorkspace(step.Sel.Name) {
			return true
		}
		n++
		if conversion, ok := call.Args[1].(*ast.CallExpr); ok {
			if to, ok := conversion.Fun.(*ast.Ident); ok && to.Name == "string" {
				t.Errorf("%s: %s is given a name alone", files.Position(call.Pos()), step.Sel.Name)
			}
		}
		return true
	})
	return n
}

// aboutAWorkspace reports whether the constant of that name is a step of ofWorkspaces.
func aboutAWorkspace(constant string) bool {
	var spelled strings.Builder
	for i, r := range constant {
		if unicode.IsUpper(r) && i > 0 {
			spelled.WriteByte('-')
		}
		spelled.WriteRune(unicode.ToLower(r))
	}
	_, ok := ofWorkspaces[keyway.Step(spelled.String())]
	return ok
}

func TestNextLines(t *testing.T) {
	e := keyway.Errorf(keyway.NotRunning, "x").Hint("at the place: df -h").Advise(keyway.StartWorkspace, "train").
		Advise("of-a-newer-node", "x").Advise(keyway.StartWorkspace).Advise(keyway.Example, "volume", "/a:/b").Advise(keyway.Example, "memory", "64gb")
	const want = "at the place: df -h\nstart it: keyway start train\nfor example: -v /a:/b\nfor example: --memory 64gb"
	if got := nextOf(e); got != want {
		t.Errorf("got %q", got)
	}
	for range 100 {
		e = e.Advise(keyway.StartWorkspace, "train")
	}
	if n := strings.Count(nextOf(e), "\n"); n > maxAdvice {
		t.Errorf("%d lines", n)
	}
	if s := spelledOut(e); s.Advice != nil || !strings.HasPrefix(s.Next, want) || spelledOut(nil) != nil {
		t.Errorf("%+v", s)
	}
}
