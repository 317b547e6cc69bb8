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

// TestPolicyThatIsNotThere checks that keyway policy and keyway doctor report what the agent does.
// A missing file is no valid policy: the standard policy holds, and a file that was named is
// reported as missing.
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

// TestPolicyExplainsEachFact checks that keyway policy explain has an option for each fact that a
// rule can name.
func TestPolicyExplainsEachFact(t *testing.T) {
	home := newLaptop(t)
	file := filepath.Join(home, "rules.yaml")
	write(t, file, `rules:
  - {name: nights, deny: login, to: github.com, days: mon-fri, hours: 22:00-06:00}
  - {name: editors, deny: session, program: "*/node"}
  - {name: asked, ask: session, program: "*/python3"}
  - {name: root, deny: session, user: root}
  - {name: files, deny: "sign:file"}
  - {name: blobs, deny: data}
`, 0o600)
	for _, c := range []struct{ args, want string }{
		{"--at|02:00|--to|gitlab.com", "? yes: "},
		{"--at|sat 02:00|--to|github.com", "? no: by line 2 of the policy (rule 1: nights)\n"},
		{"--at|Mon 02:00|--to|github.com", "it does not hold at Mon 02:00"},
		{"--at|fri 22:00|--to|github.com", "rule 1: nights)"},
		{"--to|github.com|--at|sun 12:00|--program|/usr/lib/node", "log in to github.com? yes: "},
		{"--to|github.com|--at|sun 12:00|--program|/usr/lib/node", "have a session on github.com? no: by line 3 of the policy (rule 2: editors)"},
		{"--to|github.com|--at|sun 12:00|--program|/usr/bin/python3", "? no, and ssh connects by itself: by line 4 "},
		{"--to|github.com|--at|sun 12:00|--program|/usr/bin/git|--user|git", "have a session on github.com as git? yes: "},
		{"--to|github.com|--at|sun 12:00|--program|/usr/bin/git|--user|root", "rule 4: root)"},
		{"--to|github.com|--at|sun 12:00|--session", "rule 2: editors)"}, // an unknown program may be any program
		{"--from|gpu1|--to|github.com|--session", "sessions are for programs of this machine"},
		{"--session", "sessions are for programs of this machine"},
		{"--sign|file", "rule 5: files)"},
		{"--data", "rule 6: blobs)"},
	} {
		args := append([]string{"policy", "explain", "--file", file}, strings.Split(c.args, "|")...)
		if out, code := program(t, nil, args...); code != 0 || !strings.Contains(out, c.want) {
			t.Errorf("%s: code %d, without %q: %s", c.args, code, c.want, out)
		}
	}
	for _, options := range [][]string{{"--print", "--undo"}, {"--print", "--yes"}, {"--service", "--undo"}} {
		if out, code := program(t, nil, append([]string{"init"}, options...)...); code != 2 || !strings.Contains(out, "exclude each other") {
			t.Errorf("init %q: code %d: %s", options, code, out)
		}
	}
	for _, args := range []string{"--at|noon", "--at|someday 02:00", "--at|sat 25:00", "--at|sat", "--sign|git|--data", "--data|--program|x"} {
		if out, code := program(t, nil, append([]string{"policy", "explain", "--file", file}, strings.Split(args, "|")...)...); code != 2 {
			t.Errorf("%s: code %d: %s", args, code, out)
		}
	}
}
