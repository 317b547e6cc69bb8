package agent

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestNoNetwork checks that packages that handle keys contain no network code. The package net is
// there for unix sockets. x/crypto/ssh is there for its key formats; it also brings a client, which
// nothing here may call.
func TestNoNetwork(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	for _, forbidden := range []string{"net/http", "net/smtp", "net/rpc", "crypto/tls", "golang.org/x/crypto/ssh/agent", "plugin"} {
		if slices.Contains(deps, forbidden) {
			t.Errorf("the agent imports %s", forbidden)
		}
	}
	for _, pkg := range []string{"agent", "identity", "policy", "audit", "sshwire", "unixsock", "proctree"} {
		files, err := filepath.Glob(filepath.Join("..", pkg, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pkg, err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				noDial(t, file)
			}
		}
	}
}

// networkCalls are the functions that reach further than this machine.
var networkCalls = map[string][]string{
	"net": {"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialIP", "Dialer", "Listen", "ListenTCP", "ListenUDP", "ListenPacket", "LookupHost", "LookupAddr", "LookupIP", "ResolveTCPAddr"},
	"ssh": {"Dial", "NewClientConn", "NewServerConn", "NewClient"},
}

func noDial(t *testing.T, file string) {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := s.X.(*ast.Ident); ok && slices.Contains(networkCalls[pkg.Name], s.Sel.Name) {
				t.Errorf("%s: %s.%s", file, pkg.Name, s.Sel.Name)
			}
		}
		return true
	})
}
