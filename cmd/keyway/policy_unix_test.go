//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/dirs"
	"keyway/internal/laptop"
	"keyway/test/knownhosts"

	"golang.org/x/crypto/ssh"
)

// keyway policy and keyway doctor say what the agent does.
// A policy that is not there is no fine policy: the standard one holds, and one that was
// named is missed.
func TestPolicyThatIsNotThere(t *testing.T) {
	home := newLaptop(t)
	path := filepath.Join(home, ".config", "keyway", "policy.yaml")
	if said, code := program(t, nil, "policy", "check"); code != 0 || !strings.Contains(said, "the standard one; there is no "+path+": fine\n") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if said, _ := program(t, nil, "doctor"); !strings.Contains(said, "policy       the standard one; there is no "+path+"\n") {
		t.Error(said)
	}
	if said, code := program(t, nil, "policy", "check", path); code != 40 || !strings.Contains(said, "there is no policy to check") || !strings.Contains(said, "keyway policy check") {
		t.Errorf("exit code %d: %s", code, said)
	}
	write(t, path, "rules: []\n", 0o600)
	for _, line := range [][]string{{"policy", "check"}, {"policy", "check", path}} {
		if said, code := program(t, nil, line...); code != 0 || said != path+": fine\n" {
			t.Errorf("%q, %d: %s", line, code, said)
		}
	}
}

func TestPolicyWithHashedHosts(t *testing.T) {
	home := newLaptop(t)
	prod, prodLine := knownhosts.NewKey(t)
	_, otherLine := knownhosts.NewKey(t)
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	knownhosts.WriteHashed(t, filepath.Join(home, ".ssh", "known_hosts"), "10.1.1.1 "+prodLine, "10.2.2.2 "+otherLine)
	write(t, filepath.Join(home, ".ssh", "config"), "Host prod-1\n  HostName 10.1.1.1\n", 0o600)
	dir := filepath.Join(home, "config", "keyway")
	if path, err := dirs.Policy(); err == nil {
		dir = filepath.Dir(path)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "policy.yaml"), "rules:\n  - {deny: any, to: ['prod-*']}\n", 0o600)
	for host, want := range map[string]string{
		"prod-1": "? no: ", "10.1.1.1": "? no: ", ssh.FingerprintSHA256(prod.PublicKey()): "? no: ",
		"10.2.2.2": "you are asked", "prod-9": "known_hosts has no key for prod-9", "github.com": "? yes: ",
	} {
		if out, code := program(t, nil, "policy", "explain", "--to", host, "--user", "root"); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: code %d: %s", host, code, out)
		}
	}
	out, code := program(t, nil, "policy", "check")
	if code != 0 || !strings.Contains(out, "2 hosts are in known_hosts hashed; of 1 of them a name is not known: you are asked") {
		t.Errorf("code %d: %s", code, out)
	}
	if by, _ := doctor(t); len(by["policy"]) != 1 || by["policy"][0].Health != laptop.Warning || !strings.Contains(by["policy"][0].Message, "2 hosts") {
		t.Errorf("%+v", by["policy"])
	}
}
