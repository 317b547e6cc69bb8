package layout

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// module is the module's path, which every package path of ours begins with.
const module = "keyway/"

// pkg is a package as go list describes it.
type pkg struct {
	ImportPath string
	Dir        string
	Doc        string
	Imports    []string
	Deps       []string
}

// name returns the package's path inside the module.
func (p pkg) name() string { return strings.TrimPrefix(p.ImportPath, module) }

// root returns the module's directory.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// goList runs go list for a system, as a release is built for it.
func goList(t *testing.T, goos string, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Doc,Imports,Deps"}, args...)...)
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var pkgs []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

var (
	listed   = map[string][]pkg{}
	listedMu sync.Mutex
)

// ours returns the packages of the program for a system, with their imports.
func ours(t *testing.T, goos string) []pkg {
	t.Helper()
	listedMu.Lock()
	defer listedMu.Unlock()
	if listed[goos] == nil {
		listed[goos] = goList(t, goos, "./cmd/...", "./internal/...")
	}
	return listed[goos]
}

var systems = []string{"linux", "darwin", "windows"}

// nouns is the package that every other may import unless its row says that it
// stands alone.
const nouns = "internal/keyway"

// allowed reads the table of docs/ARCHITECTURE.md: for each package, those that it
// may import, where nil stands for everything; and the packages in the table's order.
func allowed(t *testing.T) (table map[string][]string, order []string) {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join(root(t), "docs", "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile("`([a-z0-9/-]+)`")
	table = map[string][]string{}
	for line := range strings.Lines(string(doc)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[1], "`") {
			continue
		}
		var may []string
		switch cell := strings.TrimSpace(cells[3]); cell {
		case "everything of this module":
		case "–":
			may = []string{}
		default:
			may = []string{nouns}
			for _, m := range name.FindAllStringSubmatch(cell, -1) {
				may = append(may, "internal/"+m[1])
			}
		}
		for _, m := range name.FindAllStringSubmatch(cells[1], -1) {
			table[m[1]] = may
			order = append(order, m[1])
		}
	}
	return table, order
}

func TestImportTable(t *testing.T) {
	table, _ := allowed(t)
	if len(table) < 10 {
		t.Fatalf("docs/ARCHITECTURE.md has a table of only %d packages: has its form changed?", len(table))
	}
	seen := map[string]bool{}
	for _, goos := range systems {
		for _, p := range ours(t, goos) {
			seen[p.name()] = true
			may, ok := table[p.name()]
			if !ok {
				t.Errorf("%s has no row in docs/ARCHITECTURE.md", p.name())
				continue
			}
			for _, imported := range p.Imports {
				if inner, ok := strings.CutPrefix(imported, module); ok && may != nil && !slices.Contains(may, inner) {
					t.Errorf("%s imports %s on %s, which docs/ARCHITECTURE.md does not allow", p.name(), inner, goos)
				}
			}
		}
	}
	for name := range table {
		if !seen[name] {
			t.Errorf("docs/ARCHITECTURE.md has a row for %s, which is not there", name)
		}
	}
}

// TestArrowsPointDown checks the order of the table: a package stands above those that it may
// import. So there is no cycle, and a reader from the top meets each package before its parts.
func TestArrowsPointDown(t *testing.T) {
	table, order := allowed(t)
	for i, name := range order {
		for _, imported := range table[name] {
			switch at := slices.Index(order, imported); {
			case at < 0:
				t.Errorf("docs/ARCHITECTURE.md lets %s import %s, which has no row", name, imported)
			case at <= i:
				t.Errorf("docs/ARCHITECTURE.md lets %s import %s, which stands above it", name, imported)
			}
		}
	}
}

// TestRolesAreApart checks that no role imports another: it could one day run as a part of that
// one. The holder is the guest's program, and no role of its own here.
func TestRolesAreApart(t *testing.T) {
	roles := []string{"internal/agent", "internal/link", "internal/mux", "internal/node", "internal/guest", "internal/jupyter/front"}
	for _, goos := range systems {
		seen := 0
		for _, p := range ours(t, goos) {
			if !slices.Contains(roles, p.name()) {
				continue
			}
			seen++
			for _, dep := range p.Deps {
				if inner := strings.TrimPrefix(dep, module); slices.Contains(roles, inner) {
					t.Errorf("on %s the role %s depends on the role %s", goos, p.name(), inner)
				}
			}
		}
		if seen != len(roles) {
			t.Errorf("on %s only %d of %d roles are there: has one got another name?", goos, seen, len(roles))
		}
	}
}

// owners lists the packages that may import each foreign module, so that the effect of a change of
// the module is known. Imports of tests are not listed.
var owners = map[string]string{
	"go.yaml.in/yaml/v3":                      "internal/policy internal/watch internal/template/compose internal/template/devcontainer internal/template/document", // a file of the user's each
	"github.com/compose-spec/compose-go/v2/":  "internal/template/compose internal/template/variables",
	"github.com/go-viper/mapstructure/v2":     "internal/template/compose",
	"github.com/google/go-containerregistry/": "internal/registry internal/bake",
	"github.com/spf13/cobra":                  "cmd/keyway",
	"github.com/spf13/pflag":                  "cmd/keyway",
	"github.com/docker/go-units":              "cmd/keyway",
	"github.com/Microsoft/go-winio":           "internal/agentd", // named pipes
	// containers; the connection; images
	"github.com/moby/moby/": "internal/engine/docker internal/engine/docker/beside internal/engine/docker/chosen internal/engine/docker/contents " +
		"internal/engine/docker/daemon internal/engine/docker/images internal/engine/docker/inside internal/engine/docker/libpod",
	"github.com/containerd/errdefs":     "internal/engine/docker/daemon",
	"github.com/distribution/reference": "internal/engine/docker/images",
	"github.com/gorilla/websocket":      "internal/jupyter/kernel internal/jupyter/front test/bench test/demo", // to clients; to the Jupyter server
	"github.com/docker/go-connections/": "internal/engine/docker/daemon",
}

// shared may be imported everywhere: the Go project's own, an extension of the
// standard library.
var shared = []string{"golang.org/x/crypto/", "golang.org/x/sys/", "golang.org/x/term"}

func TestForeignModulesHaveOwners(t *testing.T) {
	used := map[string]bool{}
	for _, goos := range systems {
		for _, p := range ours(t, goos) {
			for _, imported := range p.Imports {
				foreign := strings.Contains(strings.Split(imported, "/")[0], ".")
				if !foreign || slices.ContainsFunc(shared, func(s string) bool { return strings.HasPrefix(imported, s) }) {
					continue
				}
				packages, mod := ownersOf(imported)
				used[mod] = true
				if !slices.Contains(strings.Fields(packages), p.name()) {
					t.Errorf("%s imports %s, which only these may: %q", p.name(), imported, packages)
				}
			}
		}
	}
	for mod := range owners {
		if !used[mod] {
			t.Errorf("no package imports %s any more: take it off the list", mod)
		}
	}
}

// ownersOf returns the module of an imported package, as owners has it, and its owners.
func ownersOf(imported string) (packages, mod string) {
	for mod, packages := range owners {
		if imported == mod || strings.HasPrefix(imported, strings.TrimSuffix(mod, "/")+"/") {
			return packages, mod
		}
	}
	return "", ""
}

// denied lists the packages that each program must not contain as a release builds it, with the
// reason. A program can do nothing without code for it.
var denied = []struct {
	program, tags string
	packages      map[string]string
}{
	{"cmd/keyway-guest", "", map[string]string{
		"net/http":                  "2 MB; the guest speaks SSH only",
		"crypto/tls":                "1 MB; the guest speaks SSH only",
		"text/template":             "switches off dead-code elimination",
		"html/template":             "switches off dead-code elimination",
		"github.com/spf13/cobra":    "the guest has a switch over its words, no command tree",
		"github.com/moby/moby":      "the guest knows no engine",
		"k8s.io":                    "the guest knows no engine",
		"runtime/cgo":               "the guest must be static: images without libc",
		"keyway/internal/engine":    "the guest knows no engine",
		"keyway/internal/sshconfig": "the guest is not the laptop",
		"keyway/internal/assets":    "the guest carries no other program",
		"github.com/prometheus":     "3 MB",
		"github.com/charmbracelet":  "another terminal model, to test ours against",
		"testing":                   "tests stay outside of programs",
		"keyway/test":               "tests stay outside of programs",
	}},
	{"cmd/keyway-node", "embed_guest", map[string]string{
		"keyway/internal/agent":     "no key is at a place",
		"keyway/internal/identity":  "no key is at a place",
		"keyway/internal/link":      "the node is at the other end",
		"keyway/internal/guest":     "the node relays what the guest ends",
		"keyway/internal/sshconfig": "the node is not the laptop",
		"golang.org/x/crypto/ssh":   "the node sees no plaintext",
		"github.com/spf13/cobra":    "the node has no words for people",
		"runtime/cgo":               "the node must be static: places without this libc",
	}},
	{"cmd/keyway-jupyter", "", map[string]string{
		"keyway/internal/agent":    "no key is in a workspace",
		"keyway/internal/identity": "no key is in a workspace",
		"keyway/internal/link":     "the laptop comes to it",
		"keyway/internal/guest":    "the guest is a program of its own",
		"keyway/internal/session":  "it runs as a session, and holds none",
		"keyway/internal/engine":   "it knows no engine",
		"golang.org/x/crypto/ssh":  "it speaks HTTP only",
		"github.com/spf13/cobra":   "it has a switch over its words, no command tree",
		"html/template":            "switches off dead-code elimination",
		"text/template":            "switches off dead-code elimination",
		"runtime/cgo":              "it must be static: workspaces without this libc",
		"testing":                  "tests stay outside of programs",
	}},
	{"cmd/keyway", "embed_node_amd64,embed_node_arm64", map[string]string{
		"keyway/internal/engine":  "the node drives engines",
		"keyway/internal/node":    "the node is a program of its own",
		"keyway/internal/guest":   "the guest is a program of its own",
		"keyway/internal/jupyter": "keyway-jupyter is a program of its own",
		"github.com/moby/moby":    "the node drives engines",
		"github.com/pkg/sftp":     "the guest serves files",
	}},
}

// linked returns the packages of a release of program for Linux.
func linked(t *testing.T, program, tags string) []pkg {
	t.Helper()
	return goList(t, "linux", "-e", "-deps", "-tags", tags, "./"+program)
}

func TestProgramsHaveTheirLimits(t *testing.T) {
	for _, d := range denied {
		for _, p := range linked(t, d.program, d.tags) {
			for path, why := range d.packages {
				if p.ImportPath == path || strings.HasPrefix(p.ImportPath, path+"/") {
					t.Errorf("%s links %s: %s", d.program, p.ImportPath, why)
				}
			}
		}
	}
}

// TestProgramsWithoutTests checks that the programs contain nothing of the tests.
func TestProgramsWithoutTests(t *testing.T) {
	for _, goos := range systems {
		for _, p := range goList(t, goos, "-deps", "./cmd/keyway") {
			if p.ImportPath == "testing" || strings.HasPrefix(p.ImportPath, module+"test/") ||
				strings.HasPrefix(p.ImportPath, "github.com/charmbracelet/") {
				t.Errorf("on %s keyway depends on %s", goos, p.ImportPath)
			}
		}
	}
}
