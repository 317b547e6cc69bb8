//go:build unix

package sshconfig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keyway/internal/keyway"
)

// asNobody runs the calling test once more as user 65534.
func asNobody(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "kw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "test")
	data, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(program, 0o755), os.Chmod(dir, 0o777)); err != nil { // independent of the umask
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

// sshG returns ssh's settings for host with the configuration in file.
func sshG(t *testing.T, file, host string) map[string]string {
	t.Helper()
	out, err := exec.Command("ssh", "-T", "-F", file, "-G", host).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh -G: %v\n%s", err, out)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		got[key] = value
	}
	return got
}

// hostileConfig is a user's configuration with every option that would break a connection to a
// workspace, if it took effect.
const hostileConfig = `Host gpu1
  HostName 10.0.0.7
  ProxyJump bastion

Host *
  User somebody
  Port 2222
  HostName wrong.example.com
  ForwardAgent yes
  ProxyJump bastion
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  HostKeyAlgorithms ssh-rsa
  IdentityAgent /nowhere
  IdentitiesOnly yes
  ServerAliveInterval 5
  TCPKeepAlive yes
  ConnectTimeout 1
  PreferredAuthentications password
  CanonicalizeHostname always
  VerifyHostKeyDNS yes
  CheckHostIP yes
`

func TestSSHTakesOurValues(t *testing.T) {
	for _, ends := range []string{"\n", "\r\n"} {
		home, _ := homeWith(t, strings.ReplaceAll(hostileConfig, "\n", ends))
		state := filepath.Join(t.TempDir(), "with space")
		if err := os.Mkdir(state, 0o700); err != nil {
			t.Fatal(err)
		}
		s := Open(state, Client{Program: "/opt/key way/keyway", Agent: "/run/user/1000/with space/agent.sock"})
		add(t, s, entry("train"))
		apply(t, home, s.ConfigPath())
		file := filepath.Join(home, ".ssh", "config")
		got := sshG(t, file, "train")
		for key, want := range map[string]string{
			"hostname":                 "train",
			"user":                     "root",
			"port":                     "22",
			"forwardagent":             "no",
			"proxycommand":             `/opt/key\ way/keyway proxy train`,
			"proxyusefdpass":           "no",
			"stricthostkeychecking":    "true",
			"checkhostip":              "no",
			"updatehostkeys":           "false",
			"userknownhostsfile":       s.KnownHostsPath(),
			"hostkeyalias":             "train.keyway",
			"hostkeyalgorithms":        "ssh-ed25519",
			"identityagent":            "/run/user/1000/with space/agent.sock",
			"identitiesonly":           "no",
			"serveraliveinterval":      "0",
			"tcpkeepalive":             "no",
			"connecttimeout":           "300",
			"preferredauthentications": "publickey",
			"canonicalizehostname":     "false",
			"verifyhostkeydns":         "false",
		} {
			if got[key] != want {
				t.Errorf("line ends %q: %s is %q, want %q", ends, key, got[key], want)
			}
		}
		if !strings.HasPrefix(got["ciphers"], "aes128-gcm@openssh.com,aes256-gcm@openssh.com,") {
			t.Errorf("ciphers %s", got["ciphers"])
		}
		if other := sshG(t, file, "gpu1"); other["hostname"] != "10.0.0.7" || other["proxyjump"] != "bastion" {
			t.Errorf("the user's own host became %v", other)
		}
	}
}

func TestForwardAgentOnlyWhereAsked(t *testing.T) {
	s := testStore(t)
	e := entry("train")
	e.ForwardAgent = true
	add(t, s, e)
	if got := sshG(t, s.ConfigPath(), "train")["forwardagent"]; got != "yes" {
		t.Errorf("forwardagent %s", got)
	}
	own := "/run/user/1/key way/forward.sock"
	s = Open(t.TempDir(), Client{Program: "/usr/bin/keyway", Forward: own})
	add(t, s, e)
	add(t, s, entry("quiet"))
	if got := sshG(t, s.ConfigPath(), "train")["forwardagent"]; got != own {
		t.Errorf("forwardagent %s", got)
	}
	if got := sshG(t, s.ConfigPath(), "quiet")["forwardagent"]; got != "no" {
		t.Errorf("forwardagent %s where it is not asked for", got)
	}
}

// TestProxyCommandReachesProgram checks that the program is found wherever it lies, after ssh and a
// shell have read the line.
func TestProxyCommandReachesProgram(t *testing.T) {
	for _, shell := range []string{"/bin/sh", "/bin/bash"} {
		for i, name := range []string{"plain", "key way", "100%h%%", "a'b", `a"b`, "$HOME `id`", `a\b\`, "a;b&c|d", "üñ", "#x", "(x) [y] {z}", "~x!y", "*?<>^="} {
			dir := filepath.Join(t.TempDir(), name)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			program, proof := filepath.Join(dir, "keyway"), filepath.Join(t.TempDir(), "proof")
			script := fmt.Sprintf("#!/bin/sh\necho \"$*\" > %s\n", proof)
			if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			s := Open(t.TempDir(), Client{Program: program})
			add(t, s, entry("train"))
			cmd := exec.Command("ssh", "-F", s.ConfigPath(), "-o", "BatchMode=yes", "train", "true")
			cmd.Env = append(os.Environ(), "SHELL="+shell)
			out, _ := cmd.CombinedOutput() // ssh fails, because the script is no proxy
			if got, err := os.ReadFile(proof); err != nil || string(got) != "proxy train\n" {
				t.Errorf("%s, %d: %q was not started: %q, %v\n%s", shell, i, name, got, err, out)
			}
		}
	}
	s := Open(t.TempDir(), Client{Program: "/opt/new\nline"})
	if err := s.Add(entry("train")); !keyway.Is(err, keyway.BadConfig) {
		t.Errorf("a line end in the path: %v", err)
	}
}

func TestResolve(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	config := `Host gpu1
  HostName 10.0.0.7
  User me
  ProxyJump inner,alice@[fe80::1]:2200
Host inner
  HostName inner.example.com
  Port 2022
  ProxyJump outer
Host outer
  HostName outer.example.com
Host a
  ProxyJump b
Host b
  ProxyJump a
`
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	r := resolver{options: []string{"-F", file}}
	hops, err := r.hops(t.Context(), "gpu1")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range hops {
		got = append(got, h.Name+"="+h.HostName+":"+h.Port)
	}
	want := "outer=outer.example.com:22 inner=inner.example.com:2022 alice@[fe80::1]:2200=fe80::1:2200 gpu1=10.0.0.7:22"
	if strings.Join(got, " ") != want {
		t.Errorf("got %v", got)
	}
	if hops[2].User != "alice" || hops[3].User != "me" {
		t.Errorf("users %q, %q", hops[2].User, hops[3].User)
	}
	_, err = r.hops(t.Context(), "a")
	wantKind(t, err, keyway.BadConfig)
	_, err = r.resolve(t.Context(), "-oProxyCommand=touch x")
	wantKind(t, err, keyway.Usage)
}

func TestResolveBadConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("Hots gpu1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := resolver{options: []string{"-F", file}}.resolve(t.Context(), "gpu1")
	if e := wantKind(t, err, keyway.BadConfig); !strings.Contains(e.Message, "line 1") && !strings.Contains(e.Message, "hots") {
		t.Error(e)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (resolver{}).resolve(canceled, "gpu1"); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

// TestSSHFindsTheKeys checks that the entry names the agent and the files with the keys that may
// enter, even if a user's Host * says otherwise.
func TestSSHFindsTheKeys(t *testing.T) {
	home, _ := homeWith(t, hostileConfig)
	s := Open(t.TempDir(), Client{Program: "/opt/keyway", Agent: "/run/agent.sock"})
	e := entry("train")
	e.Sent.Agent, e.Sent.Files = "/home/ada/Group Containers/100%/agent.sock", []string{"/home/ada/.ssh/a key"}
	add(t, s, e)
	apply(t, home, s.ConfigPath())
	got := sshG(t, filepath.Join(home, ".ssh", "config"), "train")
	for key, want := range map[string]string{
		"identityagent": e.Sent.Agent, "identityfile": e.Sent.Files[0], "identitiesonly": "no",
	} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
	for _, odd := range []string{"relative", "/with\nline", `/with"quote`, "/with$VAR"} {
		e.Sent = Sent{Agent: odd}
		if e.Validate() == nil {
			t.Errorf("an agent at %q goes into an ssh_config", odd)
		}
		if e.Sent = (Sent{Files: []string{odd}}); e.Validate() == nil {
			t.Errorf("a key file %q goes into an ssh_config", odd)
		}
	}
}

// TestSSHReadsLoginNames checks that ssh reads each name that a login may have as that name, also
// with backslashes.
func TestSSHReadsLoginNames(t *testing.T) {
	s := testStore(t)
	names := []string{"ada@corp.example.com", `CORP\ada`, `corp.example.com\nina`, `CORP\"ada`, "jörg", strings.Repeat("x", 255), "a#b", `a\b\c`}
	for r := rune(0x20); r < 0x80; r++ {
		names = append(names, "ada"+string(r)+"l", string(r)+"ada", `CORP\`+string(r)+"a")
	}
	seen := 0
	for _, name := range names {
		e := entry("train")
		if e.User = name; e.Validate() != nil {
			continue
		}
		add(t, s, e)
		if got := sshG(t, s.ConfigPath(), "train")["user"]; got != name {
			t.Errorf("ssh reads the login name %q as %q", name, got)
		}
		seen++
	}
	if seen < 150 {
		t.Errorf("only %d names were tried", seen)
	}
}
