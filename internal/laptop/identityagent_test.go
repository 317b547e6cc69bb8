package laptop

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"keyway/internal/sshconfig"
)

func TestIdentityAgent(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("VAULT", "/run/vault%d")
	for value, want := range map[string]string{
		"": "", "none": "", "SSH_AUTH_SOCK": "", "$VAULT": "/run/vault%d", "$UNSET_BY_ALL": "",
		"~/.1password/agent.sock":        filepath.Join(home, ".1password/agent.sock"),
		`"~/Library/Group X/agent.sock"`: filepath.Join(home, "Library/Group X/agent.sock"),
		"%d/s-%r@%h:%p-%n":               home + "/s-ada@10.0.0.1:2222-gpu1",
		"/run/%i/100%%":                  "/run/" + strconv.Itoa(os.Getuid()) + "/100%",
		"${VAULT}/%n":                    "/run/vault%d/gpu1",
		"/x/${UNSET_BY_ALL}y":            "/x/y",
	} {
		h := sshconfig.Host{Name: "gpu1", HostName: "10.0.0.1", User: "ada", Port: "2222", IdentityAgent: value}
		if got := identityAgent(h); got != want {
			t.Errorf("%q is %q, want %q", value, got, want)
		}
	}
}
