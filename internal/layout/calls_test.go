package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// reserved is a name that only a few files of the programs may use.
type reserved struct {
	what  string
	match *regexp.Regexp // of a word of the source
	where []string       // patterns of paths (filepath.Match)
}

// calls lists the functions that only a few files of the programs may call.
var calls = []reserved{
	{
		what:  "listens on a network",
		match: regexp.MustCompile(`^net\.(Listen|ListenTCP|ListenUDP|ListenIP|ListenPacket|ListenMulticastUDP|ListenConfig)$|^http\.(ListenAndServe|ListenAndServeTLS)$`),
		where: []string{
			"internal/guest/forward.go", // ssh -R
			"internal/mux/near/near.go", // ssh -L and -D on the mux's connection
			"internal/guest/sshd.go",    // a baked image, which no node reaches
		},
	},
	{
		what:  "connects over a network",
		match: regexp.MustCompile(`^net\.(Dial|DialTimeout|DialTCP|DialUDP|DialIP|Dialer)$|^http\.(Get|Head|Post|PostForm|DefaultClient|DefaultTransport)$`),
		where: []string{
			"internal/guest/direct.go",                 // ssh -L and -D
			"internal/engine/dial_linux.go",            // sockets of guests
			"internal/engine/docker/daemon/connect.go", // the daemon
			"internal/mux/forward.go",                  // ssh -R on the mux's connection
			"internal/laptop/jump.go",                  // the version line of a jump host
			"cmd/keyway-jupyter/server.go",             // a Jupyter server on the loopback
		},
	},
	{
		what:  "signs with a private key",
		match: regexp.MustCompile(`^ssh\.(NewSignerFromKey|NewSignerFromSigner|ParsePrivateKey\w*|ParseRawPrivateKeyWithPassphrase)$`),
		where: []string{"internal/identity/*.go", "internal/guest/keys.go"},
	},
	{
		what:  "reads a private key",
		match: regexp.MustCompile(`^ssh\.ParseRawPrivateKey$`),
		where: []string{"cmd/keyway/init.go"}, // does it have a passphrase?
	},
}

// TestCallsHaveTheirPlace checks that the sources of the programs call reserved functions only in
// the listed files.
func TestCallsHaveTheirPlace(t *testing.T) {
	haveTheirPlace(t, calls, selectors)
}

// haveTheirPlace reports reserved names outside of their files, and names of the list that no file
// uses.
func haveTheirPlace(t *testing.T, list []reserved, words func(t *testing.T, path string, data []byte) []string) {
	t.Helper()
	used := map[string]bool{}
	programs(t, func(path string, data []byte) {
		for _, word := range words(t, path, data) {
			for _, r := range list {
				if !r.match.MatchString(word) {
					continue
				}
				used[r.what] = true
				if !slices.ContainsFunc(r.where, func(p string) bool { ok, err := filepath.Match(p, path); return ok && err == nil }) {
					t.Errorf("%s %s: %s", path, r.what, word)
				}
			}
		}
	})
	for _, r := range list {
		if !used[r.what] {
			t.Errorf("nothing %s any more: take it off the list", r.what)
		}
	}
}

// programs calls use with each file of the programs' own source, without tests and packages for
// tests. Paths have slashes.
func programs(t *testing.T, use func(path string, data []byte)) {
	t.Helper()
	sources(t, ".go", func(path string, data []byte) {
		path = filepath.ToSlash(path)
		if !strings.HasSuffix(path, "_test.go") && !strings.HasPrefix(path, "test/") && !strings.HasPrefix(path, "internal/engine/enginetest/") {
			use(path, data)
		}
	})
}

// selectors returns the qualified names that a file uses, each with its package or variable.
func selectors(t *testing.T, path string, data []byte) (names []string) {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), path, data, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok {
				names = append(names, x.Name+"."+s.Sel.Name)
			}
		}
		return true
	})
	return names
}
