//go:build unix

package sshconfig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCiphersOfAUserWhoChoseNone checks that a real ssh uses the options as intended, with each
// kind of configuration.
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

// countedSSH puts an ssh first on PATH that writes its arguments to the returned file and then
// executes the real one.
func countedSSH(t *testing.T) (program, calls string) {
	t.Helper()
	genuine, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program, calls = filepath.Join(dir, "ssh"), filepath.Join(dir, "calls")
	script := fmt.Sprintf("#!/bin/sh\necho \"$*\" >>%s\nexec %s \"$@\"\n", calls, genuine)
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return program, calls
}

// TestBuiltInCiphersAreAskedOnce checks that each redial asks ssh for its configuration, which may
// have changed, and that only the first asks for the built-in ciphers, until another ssh is
// installed.
func TestBuiltInCiphersAreAskedOnce(t *testing.T) {
	program, calls := countedSSH(t)
	config := filepath.Join(t.TempDir(), "config")
	configure := func(s string) {
		if err := os.WriteFile(config, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var d defaultCiphers
	ask := func(wantFast bool, wantCalls ...string) {
		t.Helper()
		if got := d.fast(t.Context(), resolver{options: []string{"-F", config}}, "gpu1"); (got != nil) != wantFast {
			t.Errorf("the options are %q", got)
		}
		said, err := os.ReadFile(calls)
		if err != nil {
			t.Fatal(err)
		}
		os.Remove(calls)
		got := strings.Split(strings.TrimSpace(string(said)), "\n")
		slices.Sort(got) // they run side by side
		if !slices.Equal(got, wantCalls) {
			t.Errorf("ssh was called with %q, want %q", got, wantCalls)
		}
	}
	configured, builtIn := "-F "+config+" -T -G -- gpu1", "-F none -T -G -- "+noHost
	configure("Host gpu1\n  User me\n")
	ask(true, configured, builtIn)
	ask(true, configured)
	configure("Ciphers aes256-ctr\n")
	ask(false, configured)
	configure("")
	ask(true, configured)
	if err := os.Chtimes(program, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	ask(true, configured, builtIn)
}
