package sshconfig

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

func TestAgent(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("VAULT", "/run/vault%d")
	for value, want := range map[string]string{
		"none": "", "$VAULT": "/run/vault%d", "$UNSET_BY_ALL": "",
		"~/.1password/agent.sock":        filepath.Join(home, ".1password/agent.sock"),
		`"~/Library/Group X/agent.sock"`: filepath.Join(home, "Library/Group X/agent.sock"),
		"%d/s-%r@%h:%p-%n-%k":            home + "/s-ada@10.0.0.1:2222-gpu1-gpu1",
		"/run/%i/100%%":                  "/run/" + strconv.Itoa(os.Getuid()) + "/100%",
		"${VAULT}/%n":                    "/run/vault%d/gpu1",
		"/x/${UNSET_BY_ALL}y":            "/x/y",
	} {
		h := Host{Name: "gpu1", HostName: "10.0.0.1", User: "ada", Port: "2222", IdentityAgent: value}
		if got, named := h.Agent(); got != want || !named {
			t.Errorf("%q is %q (named %t), want %q", value, got, named, want)
		}
	}
	for _, value := range []string{"", "SSH_AUTH_SOCK"} {
		if got, named := (Host{IdentityAgent: value}).Agent(); got != "" || named {
			t.Errorf("%q is %q, and named", value, got)
		}
	}
}

// TestKeyFiles checks the names of key files, which ssh -G prints as they are written.
func TestKeyFiles(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("KEYS", "/keys")
	h := Host{Name: "gpu1", HostName: "10.0.0.1", User: "ada", Port: "22", ProxyJump: []string{"bastion"},
		IdentityFiles: []string{"~/.ssh/id_ed25519", "~/.ssh/%r@%h", "${KEYS}/%n.%j", "%d/my key", "/a/b"}}
	want := []string{home + "/.ssh/id_ed25519", home + "/.ssh/ada@10.0.0.1", "/keys/gpu1.bastion", home + "/my key", "/a/b"}
	if got := h.KeyFiles(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
