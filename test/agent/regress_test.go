//go:build linux

package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// regress is where Debian's package openssh-tests puts OpenSSH's own tests.
const regress = "/usr/lib/openssh/regress"

// daemon is a user that every Debian has and that is not the one that
// agent-getpeereid becomes.
const daemon = 1

func needsRegress(t *testing.T, programs ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes a minute")
	}
	if _, err := os.Stat(regress); err != nil {
		t.Skip("OpenSSH's tests are not installed (Debian: openssh-tests)")
	}
	if os.Getuid() != 0 {
		t.Skip("OpenSSH's tests start sshd, which needs root here")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}

// TestOpenSSHRegress runs OpenSSH's tests of its agent with ours in its place.
func TestOpenSSHRegress(t *testing.T) {
	needsRegress(t)
	// sshd's separated half needs it, as its service would make it.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	slots := make(chan struct{}, 4)
	for _, c := range []struct{ script, preset string }{
		{"agent-restrict", "openssh"},
		{"agent-restrict", "standard"},
		{"agent", "openssh"},
		{"agent-timeout", "openssh"},
		{"agent-subprocess", "openssh"},
		{"agent-pkcs11", "openssh"},
		{"hostkey-agent", "openssh"},
		{"sshsig", "openssh"},
		{"cert-file", "openssh"},
	} {
		t.Run(c.script+"/"+c.preset, func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			p := newPlace(t, c.preset)
			p.regress(t, c.script)
		})
	}
}

var skipped = regexp.MustCompile(`(?i)^skipp`)

// regress runs one of OpenSSH's tests, in a copy of all of them. prefix is what
// makes it run as somebody else.
func (p place) regress(t *testing.T, script string, prefix ...string) {
	t.Helper()
	work := filepath.Join(p.dir, "work")
	if out, err := exec.Command("cp", "-a", regress, work).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(prefix) > 0 {
		p.give(t, daemon)
	}
	env := p.env("BUILDDIR="+work, "TEST_SHELL=sh", "TEST_SSH_SSH=ssh", "TEST_SSH_SSHAGENT="+p.program,
		"TEST_SSH_SFTPSERVER=/usr/lib/openssh/sftp-server", "TEST_SSH_UNSAFE_PERMISSIONS=1", "TEST_SSH_PORT="+freePort(t))
	if len(prefix) > 0 {
		env = append(env, "SUDO=sudo", "USER=daemon", "LOGNAME=daemon")
	}
	argv := append(prefix, "sh", "./test-exec.sh", work, filepath.Join(work, script+".sh"))
	out, err := p.run(t, 4*time.Minute, work, env, argv...)
	if err != nil || !strings.Contains(out, "ok ") {
		t.Errorf("%v:\n%s", err, out)
	}
	for line := range strings.Lines(out) {
		if skipped.MatchString(line) {
			t.Errorf("it was skipped: %s", line)
		}
	}
}

// sudo is enough of sudo for OpenSSH's tests: they run with the capabilities that
// changing the user takes.
const sudo = `#!/bin/sh
user=root
while :; do
  case $1 in
    -n|-S) shift ;;
    -u) user=$2; shift 2 ;;
    *) break ;;
  esac
done
exec setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups --inh-caps=-all --ambient-caps=-all "$@"
`

// TestOpenSSHRegressUnprivileged runs those that say nothing when root runs them.
func TestOpenSSHRegressUnprivileged(t *testing.T) {
	needsRegress(t, "setpriv", "gdb")
	for _, script := range []string{"agent-getpeereid", "agent-ptrace"} {
		t.Run(script, func(t *testing.T) {
			p := newPlace(t, "openssh")
			if err := os.WriteFile(filepath.Join(p.dir, "bin", "sudo"), []byte(sudo), 0o755); err != nil {
				t.Fatal(err)
			}
			p.regress(t, script, "setpriv", "--reuid=1", "--regid=1", "--clear-groups",
				"--inh-caps=+setuid,+setgid", "--ambient-caps=+setuid,+setgid")
		})
	}
}
