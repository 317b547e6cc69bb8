package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/agent"
	"keyway/internal/audit"
	"keyway/internal/policy"
)

func TestAgentOptions(t *testing.T) {
	o, err := parseAgentOptions([]string{"-P/*", "-t90m", "-a", "/tmp/s", "-Opolicy=openssh", "-O", "forward=/tmp/f", "cmd", "-x"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(o.providers, []string{"/*"}) || o.life != 90*time.Minute || o.socket != "/tmp/s" || o.policy != "openssh" || o.forward != "/tmp/f" || !slices.Equal(o.command, []string{"cmd", "-x"}) {
		t.Errorf("%+v", o)
	}
	if o, err := parseAgentOptions([]string{"--upstream", "/run/up", "--policy=openssh", "cmd", "--upstream"}); err != nil || o.upstream != "/run/up" || o.policy != "openssh" || len(o.command) != 2 {
		t.Errorf("%+v %v", o, err)
	}
	if o, err := parseAgentOptions([]string{"-dD", "-s", "--"}); err != nil || !o.debug || !o.foreground || !o.sh || len(o.command) != 0 {
		t.Errorf("%+v %v", o, err)
	}
	for _, args := range [][]string{
		{"-x"}, {"-a"}, {"-s", "-c"}, {"-k", "cmd"}, {"-t", "never"}, {"-t", "-5"}, {"-t", "0"}, {"-E", "sha1"},
		{"-O", "allow-remote-pkcs11"}, {"-O", "no-restrict-websafe"}, {"-O", "nothing"}, {"-O", "policy="}, {"-O", "serve=x"}, {"--upstream"}, {"--nothing", "x"},
	} {
		if _, err := parseAgentOptions(args); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

func TestStandsInForSSHAgent(t *testing.T) {
	for argv0, want := range map[string]bool{"/usr/bin/ssh-agent": true, "ssh-agent": true, "keyway": false, "/opt/keyway": false} {
		args, got := standInForSSHAgent([]string{argv0, "-s"})
		if got != want || got && !slices.Equal(args, []string{"agent", "-s"}) {
			t.Errorf("%s: %v %v", argv0, args, got)
		}
	}
}

func TestReach(t *testing.T) {
	steps := []agent.Step{{To: "bastion"}, {From: "bastion", To: "gpu", User: "root"}, {From: "gpu", To: "db"}, {From: "db", To: "bastion"}, {To: "git"}}
	want := []string{"from here to bastion; from there to root@gpu, db, bastion", "from here to git"}
	if got := reach(steps); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestForwardedReach(t *testing.T) {
	known := func(name string, groups ...string) policy.Host {
		return policy.Host{Fingerprint: "SHA256:" + name, Names: []string{name}, Groups: groups}
	}
	hosts := []policy.Host{known("db"), known("github.com", policy.GroupGit), known("lab"), known("train", policy.GroupWorkspaces)}
	rules, err := policy.Parse([]byte("rules:\n  - allow: login\n    from: lab\n    to: db\n  - deny: login\n    key: secret\n"))
	if err != nil {
		t.Fatal(err)
	}
	for comment, want := range map[string][]string{
		"me":     {"forwarded through db, github.com, any other host: nowhere unasked", "forwarded through lab: to db", "forwarded through train: to github.com, train"},
		"secret": {"forwarded through db, github.com, train, any other host: nowhere unasked", "forwarded through lab: to db"},
	} {
		if got := forwarded(rules, hosts, agent.KeyInfo{Comment: comment}, time.Now()); !slices.Equal(got, want) {
			t.Errorf("%s: %q", comment, got)
		}
	}
	all := forwarded(policy.Standard(), hosts, agent.KeyInfo{}, time.Now())
	if want := []string{"forwarded through db, github.com, lab, any other host: nowhere unasked", "forwarded through train: to github.com, train"}; !slices.Equal(all, want) {
		t.Errorf("%q", all)
	}
}

func TestEventsAreSentences(t *testing.T) {
	when := time.Date(2026, 11, 24, 14, 2, 11, 0, time.Local)
	for want, e := range map[string]audit.Event{
		"2026-11-24 14:02:11  allowed  me@laptop to log in to github.com as git, asked from train and beyond (lab) (rule 3: git hosts)\n": {
			Event: "sign", Verdict: "allowed", Purpose: "login", Comment: "me@laptop", To: "github.com", User: "git", Remote: true, From: "train", Via: "lab", Rule: "rule 3: git hosts",
		},
		"2026-11-24 14:02:11  denied   me@laptop to sign for git, asked from an unknown host (ask): nobody can be asked\n": {
			Event: "sign", Verdict: "denied", Purpose: "signature", Namespace: "git", Comment: "me@laptop", Remote: true, Rule: "ask", Reason: "nobody can be asked",
		},
		"2026-11-24 14:02:11  denied   me@laptop to sign for git, asked from bastion (ask): nobody can be asked (and 4,711 more)\n": {
			Event: "sign", Verdict: "denied", Purpose: "signature", Namespace: "git", Comment: "me@laptop", Remote: true, From: "bastion", Rule: "ask", Reason: "nobody can be asked", More: 4711,
		},
		"2026-11-24 14:02:11  allowed  evil?[2J to sign data of an unknown kind, asked by /usr/bin/x (7)\n": {
			Event: "sign", Verdict: "allowed", Purpose: "data", Comment: "evil\x1b[2J", Program: "/usr/bin/x", PID: 7,
		},
	} {
		e.Time = when
		var b bytes.Buffer
		if err := printEvent(&b, e); err != nil || b.String() != want {
			t.Errorf("%q, want %q", b.String(), want)
		}
	}
}

func newHostKey(t *testing.T) (ssh.Signer, string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.PublicKey())))
}

func TestNamesOfHostKeys(t *testing.T) {
	dir := t.TempDir()
	mine, theirs := filepath.Join(dir, "mine"), filepath.Join(dir, "theirs")
	train, trainLine := newHostKey(t)
	db, dbLine := newHostKey(t)
	ca, caLine := newHostKey(t)
	gone, goneLine := newHostKey(t)
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(mine, "train.keyway "+trainLine+"\n")
	write(theirs, "# a comment\nnonsense\n|1|aGFzaA==|aGFzaA== "+dbLine+"\ndb.lab,10.0.0.1 "+dbLine+"\n@cert-authority *.lab "+caLine+"\n@revoked gone.lab "+goneLine+"\n")
	n := &hostKeyNames{files: []knownHostsFile{{mine, policy.GroupWorkspaces}, {theirs, ""}, {filepath.Join(dir, "absent"), ""}}}
	if h := n.lookup(train.PublicKey()); !slices.Equal(h.Names, []string{"train"}) || !slices.Equal(h.Groups, []string{policy.GroupWorkspaces}) {
		t.Errorf("%+v", h)
	}
	if h := n.lookup(db.PublicKey()); !slices.Equal(h.Names, []string{"db.lab", "10.0.0.1"}) || h.Groups != nil {
		t.Errorf("%+v", h)
	}
	if h := n.lookup(gone.PublicKey()); h.Names != nil {
		t.Errorf("a revoked key has a name: %+v", h)
	}
	cert := &ssh.Certificate{Key: gone.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{"gpu.lab", "gpu.elsewhere"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	if h := n.lookup(cert); !slices.Equal(h.Names, []string{"gpu.lab"}) {
		t.Errorf("%+v", h)
	}
	// A workspace that goes is no workspace any more, from that moment on.
	write(mine, "")
	if h := n.lookup(train.PublicKey()); h.Names != nil || h.Groups != nil {
		t.Errorf("%+v", h)
	}
}

func TestPolicyFollowsItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if _, err := openPolicy(path, io.Discard); err == nil {
		t.Error("a policy that was named and is not there")
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("preset: openssh\n")
	var news bytes.Buffer
	f, err := openPolicy(path, &news)
	if err != nil {
		t.Fatal(err)
	}
	unknown := policy.Facts{Op: policy.Sign, Remote: true, Proven: true, Purpose: policy.Login, Constraint: policy.Unconstrained, To: policy.Host{Fingerprint: "SHA256:x"}}
	expect := func(what string, want policy.Verdict) {
		t.Helper()
		if d := f.current().Decide(unknown, nil); d.Verdict != want {
			t.Errorf("%s: %+v", what, d)
		}
	}
	expect("openssh", policy.Allow)
	write("rules:\n  - deny: any\n")
	expect("changed", policy.Deny)
	write("rules: [a mistake]\n")
	expect("wrong", policy.Deny)
	if !strings.Contains(news.String(), "the last good policy stays") {
		t.Errorf("nothing was said: %q", news.String())
	}
	if _, err := openPolicy(path, io.Discard); err == nil {
		t.Error("an agent starts with a wrong policy")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect("gone", policy.Ask)
}
