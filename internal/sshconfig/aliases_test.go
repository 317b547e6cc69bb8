package sshconfig

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"keyway/internal/keyway"
)

// configured returns a home directory with the configuration and the files that it includes.
func configured(t testing.TB, config string, more map[string]string) string {
	t.Helper()
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".ssh", "conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	more["config"] = config
	for name, text := range more {
		if err := os.WriteFile(filepath.Join(home, ".ssh", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

const namesConfig = `
Include conf.d/*.conf
Host prod-1 prod-2 !other *.pattern
  HostName %h.example.com
  HostName ignored.example.com
Host db
  HostName 10.0.0.5
  Port 2222
Host aliased
  HostKeyAlias the-alias
  HostName 10.0.0.6
Match host matched,"also"
  HostName m.example.com
Match exec "false" host unsure
  HostName maybe.example.com
Host *
  Port 22
  CanonicalDomains lab
  UserKnownHostsFile ~/.ssh/known_hosts %d/.ssh/more /dev/null ~/.ssh/%n
`

func TestReadNames(t *testing.T) {
	home := configured(t, namesConfig, map[string]string{
		"conf.d/a.conf": "Host included\n  HostName inc.example.com\n  Include conf.d/loop\n", "conf.d/loop": "Include conf.d/loop conf.d/a.conf\n",
	})
	n := ReadNames(home)
	for alias, want := range map[string][]string{
		"prod-1": {"prod-1.example.com"}, "prod-2": {"prod-2.example.com"}, "db": {"[10.0.0.5]:2222"}, "aliased": {"the-alias"},
		"matched": {"m.example.com"}, "also": {"m.example.com"}, "unsure": {"maybe.example.com", "unsure"}, "included": {"inc.example.com"},
	} {
		if got := n.Lookups[alias]; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", alias, got, want)
		}
	}
	for _, want := range []string{"db.lab", "10.0.0.6", "maybe.example.com"} {
		if !slices.Contains(n.Others, want) {
			t.Errorf("%s is not among %q", want, n.Others)
		}
	}
	if want := []string{filepath.Join(home, ".ssh/known_hosts"), filepath.Join(home, ".ssh/more")}; !slices.Equal(n.KnownHosts[:2], want) {
		t.Errorf("%q", n.KnownHosts)
	}
	if !slices.Contains(n.Sources, filepath.Join(home, ".ssh", "conf.d")) {
		t.Errorf("%q", n.Sources)
	}
}

// TestReadNamesAsSSH checks that ssh -G agrees on every name that is sure.
func TestReadNamesAsSSH(t *testing.T) {
	home := configured(t, namesConfig, map[string]string{})
	r := resolver{options: []string{"-F", filepath.Join(home, ".ssh", "config")}}
	for _, alias := range []string{"prod-1", "prod-2", "db", "matched", "also"} {
		host, err := r.resolve(t.Context(), string(keyway.Place(alias)))
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{WithPort(host.HostName, host.Port)}; !slices.Equal(ReadNames(home).Lookups[alias], want) {
			t.Errorf("%s: ssh says %q, we %q", alias, want, ReadNames(home).Lookups[alias])
		}
	}
}

func FuzzReadNames(f *testing.F) {
	f.Add(namesConfig)
	f.Add("Match host=a,b all\nHostName %h\nInclude *\n")
	home := configured(f, "", map[string]string{})
	f.Fuzz(func(t *testing.T, config string) {
		if err := os.WriteFile(filepath.Join(home, ".ssh", "config"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		for alias, names := range ReadNames(home).Lookups {
			if len(names) == 0 {
				t.Errorf("%q is looked up under no name", alias)
			}
		}
	})
}
