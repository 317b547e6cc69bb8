package laptop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/keyway"
	"keyway/internal/sshconfig"
)

// TestWhySSHKnowsNoWorkspaces checks that a missing Include line is told from one that stands below
// a Host line, where it has no effect.
func TestWhySSHKnowsNoWorkspaces(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	here := &Laptop{Hosts: sshconfig.Open(filepath.Join(home, "state"), sshconfig.Client{})}
	line := `Include "` + filepath.ToSlash(here.Hosts.ConfigPath()) + "\"\n"
	for config, says := range map[string]string{
		"":                                  "does not include",
		"Host *\n  User ada\n" + line:       "line 3 of",
		"Host *\n  User ada\n\n\n\n" + line: "line 6 of",
		line + "Host *\n  User ada\n":       "",
		"# mine\n" + line:                   "",
	} {
		if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, ".ssh", "config"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		err := here.RequireInclude()
		if says == "" && err != nil || says != "" && (!keyway.Is(err, keyway.BadConfig) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%q: %v, want %q", config, err, says)
		}
	}
}
