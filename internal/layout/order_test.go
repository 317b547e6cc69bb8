package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// TestNoListInRandomOrder checks that no list, such as the arguments of a program, is made by
// ranging over a map in the same function: its order would differ each time.
func TestNoListInRandomOrder(t *testing.T) {
	sources(t, ".go", func(path string, data []byte) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, at := range randomLists(t, path, data) {
			t.Errorf("%s: a list is made in the random order of a map", at)
		}
	})
}

func TestRandomListsAreFound(t *testing.T) {
	const source = `package p
func f() (args, more []string) {
	for k, set := range map[string]bool{"-d": true} {
		if set {
			args = append(args, k)
		}
	}
	for _, k := range []string{"-d"} {
		more = append(more, k)
	}
	m := map[string]string{"-a": "b"}
	for k, v := range m {
		more = append(more, k, v)
	}
	for k := range map[string]bool{"-d": true} {
		println(k)
	}
	var in []string
	for k := range m {
		in = append(in, k)
		one := []string{k}
		one = append(one, k)
		println(one)
	}
	slices.Sort(in)
	return args, more
}
`
	if got := randomLists(t, "p.go", []byte(source)); len(got) != 2 {
		t.Errorf("found %q", got)
	}
}

// randomLists returns the places where a loop over a map that is written in the
// same function appends to a list that is not sorted.
func randomLists(t *testing.T, path string, data []byte) []string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, data, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	inOrder := sorted(file)
	ast.Inspect(file, func(n ast.Node) bool {
		loop, ok := n.(*ast.RangeStmt)
		if !ok || !isMap(loop.X) {
			return true
		}
		for _, list := range appended(loop) {
			if !inOrder[list] {
				found = append(found, files.Position(loop.Pos()).String())
			}
		}
		return true
	})
	return found
}

// isMap reports whether x is a map as far as its syntax tells.
func isMap(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.CompositeLit:
		_, is := x.Type.(*ast.MapType)
		return is
	case *ast.Ident: // a variable of the same function
		if x.Obj == nil {
			return false
		}
		assigned, ok := x.Obj.Decl.(*ast.AssignStmt)
		return ok && len(assigned.Rhs) == 1 && isMap(assigned.Rhs[0])
	}
	return false
}

// appended returns the lists from outside of the loop that its body appends to.
func appended(loop *ast.RangeStmt) (lists []*ast.Object) {
	ast.Inspect(loop.Body, func(n ast.Node) bool {
		assign, ok := n.(*ast.AssignStmt)
		if !ok || len(assign.Lhs) != 1 || len(assign.Rhs) != 1 {
			return true
		}
		list, isName := assign.Lhs[0].(*ast.Ident)
		call, isCall := assign.Rhs[0].(*ast.CallExpr)
		if !isName || !isCall || list.Obj == nil || list.Obj.Pos() >= loop.Pos() {
			return true
		}
		if name, ok := call.Fun.(*ast.Ident); ok && name.Name == "append" {
			lists = append(lists, list.Obj)
		}
		return true
	})
	return lists
}

// sorted returns the lists that the file sorts somewhere.
func sorted(file *ast.File) map[*ast.Object]bool {
	lists := map[*ast.Object]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		f, isSelector := call.Fun.(*ast.SelectorExpr)
		list, isName := call.Args[0].(*ast.Ident)
		if isSelector && isName && list.Obj != nil && strings.HasPrefix(f.Sel.Name, "Sort") {
			lists[list.Obj] = true
		}
		return true
	})
	return lists
}
