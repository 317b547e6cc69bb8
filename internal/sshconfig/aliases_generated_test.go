package sshconfig

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// configs writes random configurations that set the name under which ssh looks up a host's key:
// blocks of Host and Match, with wildcards, negations, conditions that hold and that do not, and
// nested Include files.
type configs struct {
	*rand.Rand
	dir   string
	files int
}

var generatedHosts = []string{"db", "prod-1", "prod-2", "web"}

func (c *configs) one(of ...string) string { return of[c.IntN(len(of))] }

func (c *configs) pattern() string {
	return c.one("db", "prod-1", "prod-*", "*", "web", "d?", "!db", "!prod-1", "10.0.0.*", "h1.lab", "*.lab")
}

func (c *configs) patterns(separator string) string {
	all := []string{c.pattern()}
	for c.IntN(2) == 0 {
		all = append(all, c.pattern())
	}
	return strings.Join(all, separator)
}

func (c *configs) condition() string {
	switch c.IntN(9) {
	case 0:
		return "all"
	case 1:
		return "user " + c.one("root", "nobody")
	case 2:
		return c.one("exec true", "exec false", `exec "test %h = db"`, "exec=true")
	case 3:
		return "!host " + c.patterns(",")
	case 4:
		return "originalhost=" + c.patterns(",")
	case 5:
		return "host " + c.patterns(",") + " exec " + c.one("true", "false")
	case 6:
		return "originalhost " + c.patterns(",")
	case 7:
		return "host " + c.one("10.0.0.*", "h1.lab", "*.lab", "*,!*.lab")
	}
	return "host " + c.patterns(",")
}

func (c *configs) setting() string {
	return "  " + c.one("HostName 10.0.0.5", "HostName h1.lab", "HostName %h.lab", "HostName DB.lab", "Port 2222", "Port 22", "HostKeyAlias key-1", "HostKeyAlias key-2")
}

// text returns a configuration, of at most depth files within one another.
func (c *configs) text(depth int) string {
	var b strings.Builder
	for range 1 + c.IntN(4) {
		if c.IntN(2) == 0 {
			fmt.Fprintf(&b, "Host %s\n", c.patterns(" "))
		} else {
			fmt.Fprintf(&b, "Match %s\n", c.condition())
		}
		for range c.IntN(3) {
			if depth > 0 && c.IntN(3) == 0 {
				fmt.Fprintf(&b, "  Include %s\n", c.file(depth-1))
				continue
			}
			fmt.Fprintln(&b, c.setting())
		}
	}
	return b.String()
}

func (c *configs) file(depth int) string {
	c.files++
	path := filepath.Join(c.dir, fmt.Sprint(c.files))
	if err := os.WriteFile(path, []byte(c.text(depth)), 0o600); err != nil {
		panic(err)
	}
	return path
}

// TestNoNameThatSSHLooksUpIsMissed checks that every name that ssh looks up for a host counts as
// one that may be it: a rule of the policy with the host's name holds for the key under that
// name.
func TestNoNameThatSSHLooksUpIsMissed(t *testing.T) {
	for seed := range uint64(60) {
		home := t.TempDir()
		if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
			t.Fatal(err)
		}
		c := &configs{Rand: rand.New(rand.NewPCG(seed, 1)), dir: home}
		// A block of their own has the names of all, as a user's hosts do.
		text, own := c.text(2), "Host "+strings.Join(generatedHosts, " ")+"\n"+c.setting()+"\n"
		if c.IntN(2) == 0 {
			text = own + text
		} else {
			text += own
		}
		path := filepath.Join(home, ".ssh", "config")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := resolver{options: []string{"-F", path}}
		names := ReadNames(home)
		for _, alias := range generatedHosts {
			host, err := r.resolve(t.Context(), alias)
			if err != nil {
				t.Fatalf("%v:\n%s", err, text)
			}
			want := WithPort(host.HostName, host.Port)
			if host.HostKeyAlias != "" {
				want = host.HostKeyAlias
			}
			if want != alias && !slices.Contains(names.Lookups[alias], want) {
				t.Errorf("seed %d, %s: ssh looks up %s, we %q:\n%s", seed, alias, want, names.Lookups[alias], text)
				break
			}
		}
	}
}

// TestIncludePatternsAsSSH checks that the files that a pattern names are those that ssh reads.
func TestIncludePatternsAsSSH(t *testing.T) {
	home := t.TempDir()
	config := filepath.Join(home, ".ssh", "config")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := []string{"d/a", "d/.old", "d/_b", "d/!c", "d/^e", "d/[f", ".h/a", "d.d/.g/x", "d.d/g/x", ".ssh/~nobody/x"}
	for n, file := range files {
		write(filepath.Join(home, file), fmt.Sprintf("Host host%d\n  HostName found\n", n))
	}
	for _, pattern := range []string{
		"d/*", "d/.*", "d/?old", "d/[.]old", `d/\.old`, "d/[!_]*", "d/[^_]*", "d/[_!]*", "d/[!!_]*", `d/\[*`, "*/a", ".*/a", "d.d/*/x", "d.d/.*/x", "?.d/[!.]/x",
		"d/a", "d/.old", "d/../d/*", "./d//*", "d/[a", "d/*/*",
	} {
		pattern = home + "/" + pattern
		write(config, "Include "+pattern+"\n")
		r := resolver{options: []string{"-F", config}}
		lookups := ReadNames(home).Lookups
		for n, file := range files {
			alias := fmt.Sprint("host", n)
			host, err := r.resolve(t.Context(), alias)
			if err != nil {
				t.Fatal(err)
			}
			if reads := host.HostName == "found"; reads != (lookups[alias] != nil) {
				t.Errorf("Include %s: that ssh reads %s is %v, and that we do is %v", pattern, file, reads, !reads)
			}
		}
	}
	write(config, "Include ~nobody/x\n")
	if names := ReadNames(home); names.Lookups["host9"] != nil {
		t.Error("~nobody is taken for a directory in ~/.ssh")
	}
}
