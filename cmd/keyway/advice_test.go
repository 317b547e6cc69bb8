package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// steps are all steps that errors can have, read from the source.
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

// Every step has a sentence, which takes the values that it is about, each as one word
// of a command.
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
			if s := sentence(keyway.Advice{Step: step, About: about}); s != "" {
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
