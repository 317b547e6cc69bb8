//go:build unix

package sshconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a real ssh makes of the options, with each kind of configuration.
func TestCiphersOfAUserWhoChoseNone(t *testing.T) {
	builtIn := resolver{options: []string{"-F", "none"}}.ciphers(t.Context(), noHost)
	if builtIn == "" {
		t.Fatal("ssh -G names no ciphers")
	}
	for config, want := range map[string]string{
		"":                                  builtIn,
		"Host gpu1\n  User me\n":            builtIn,
		"Host gpu1\n  Ciphers aes256-ctr\n": "aes256-ctr",
		"Host *\n  Ciphers -chacha20-poly1305@openssh.com\n": strings.ReplaceAll(builtIn, "chacha20-poly1305@openssh.com,", ""),
		"Host other\n  Ciphers aes256-ctr\n":                 builtIn,
	} {
		file := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := (resolver{options: []string{"-F", file}}).ciphers(t.Context(), "gpu1"); got != want {
			t.Errorf("with %q the ciphers are %s, want %s", config, got, want)
		}
	}
	fast := gcmFirst(builtIn)
	if got := (resolver{options: []string{"-F", "none", "-o", "Ciphers=" + fast}}).ciphers(t.Context(), "gpu1"); got != fast {
		t.Errorf("ssh makes %q of %q", got, fast)
	}
}

func TestGCMFirst(t *testing.T) {
	for list, want := range map[string]string{
		"": "",
		"chacha20-poly1305@openssh.com,aes128-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com": "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-ctr",
		"aes256-gcm@openssh.com,aes128-ctr": "aes256-gcm@openssh.com,aes128-ctr",
		"aes128-ctr":                        "aes128-ctr",
	} {
		if got := gcmFirst(list); got != want {
			t.Errorf("gcmFirst(%q) is %q, want %q", list, got, want)
		}
	}
}
