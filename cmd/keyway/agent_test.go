package main

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"keyway/internal/agent"
	"keyway/internal/audit"
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

func TestEventsAreSentences(t *testing.T) {
	when := time.Date(2026, 11, 24, 14, 2, 11, 0, time.Local)
	for want, e := range map[string]audit.Event{
		"2026-11-24 14:02:11  allowed  me@laptop to log in to github.com as git, asked from train and beyond (lab) (rule 3: git hosts)\n": {
			Event: "sign", Verdict: "allowed", Rule: "rule 3: git hosts", Request: audit.Request{Purpose: "login", Comment: "me@laptop", To: "github.com", User: "git", Remote: true, From: "train", Via: "lab"},
		},
		"2026-11-24 14:02:11  denied   me@laptop to sign for git, asked from an unknown host (ask): nobody can be asked\n": {
			Event: "sign", Verdict: "denied", Rule: "ask", Reason: "nobody can be asked", Request: audit.Request{Purpose: "signature", Namespace: "git", Comment: "me@laptop", Remote: true},
		},
		"2026-11-24 14:02:11  denied   me@laptop to sign for git, asked from bastion (ask): nobody can be asked (and 4,711 more)\n": {
			Event: "sign", Verdict: "denied", Rule: "ask", Reason: "nobody can be asked", More: 4711, Request: audit.Request{Purpose: "signature", Namespace: "git", Comment: "me@laptop", Remote: true, From: "bastion"},
		},
		"2026-11-24 14:02:11  allowed  evil?[2J to sign data of an unknown kind, asked by /usr/bin/x (7)\n": {
			Event: "sign", Verdict: "allowed", Request: audit.Request{Purpose: "data", Comment: "evil\x1b[2J", Program: "/usr/bin/x", PID: 7},
		},
	} {
		e.Time = when
		var b bytes.Buffer
		if err := printEvent(&b, e); err != nil || b.String() != want {
			t.Errorf("%q, want %q", b.String(), want)
		}
	}
}
