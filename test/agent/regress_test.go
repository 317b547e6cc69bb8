//go:build linux

package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// regress is the directory of OpenSSH's own tests in Debian's package openssh-tests.
const regress = "/usr/lib/openssh/regress"

// account is the user that runs OpenSSH's tests.
type account struct {
	name string
	uid  int
	run  []string // the words before a command that run it as this user
}

// Neither user may trace protected processes, as root usually may, so that the tests see the
// agent's own protection.
var (
	asRoot = account{"root", 0, []string{"setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"}}
	asUser = account{"unprivileged", tester, slices.Concat(withTester, []string{"--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all"})}
	// asSudoer may change to other users, with the sudo below.
	asSudoer = account{"unprivileged", tester, slices.Concat(withTester, []string{"--inh-caps=+setuid,+setgid", "--ambient-caps=+setuid,+setgid"})}
)

// tester is a user who may log in, from a passwd that only the test sees. The system's own users
// have no shell.
const tester = 47000

var withTester = []string{"unshare", "--mount", "sh", "-c", `{ cat /etc/passwd; echo tester:*:47000:47000::$HOME:/bin/sh; } >"$HOME/passwd" &&
{ cat /etc/group; echo tester:x:47000:; } >"$HOME/group" &&
mount --bind "$HOME/passwd" /etc/passwd && mount --bind "$HOME/group" /etc/group &&
exec setpriv --reuid=47000 --regid=47000 --clear-groups "$@"`, "sh"}

// TestOpenSSHRegress runs OpenSSH's tests of its agent with keyway's in its place, as root and as
// another user.
func TestOpenSSHRegress(t *testing.T) {
	// sshd's unprivileged process needs it; usually its service makes it.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	// The long ones first.
	for _, c := range []struct {
		script, preset string
		unprivileged   account
	}{
		{"agent-restrict", "openssh", asUser},
		{"agent-restrict", "standard", asUser},
		{"agent", "openssh", asUser},
		{"sshsig", "openssh", asUser},
		{"agent-timeout", "openssh", asUser},
		{"hostkey-agent", "openssh", asUser},
		{"agent-pkcs11", "openssh", asUser},
		{"cert-file", "openssh", asUser},
		{"agent-subprocess", "openssh", asUser},
		{"agent-getpeereid", "openssh", asSudoer},
		{"agent-ptrace", "openssh", asSudoer},
	} {
		for _, who := range []account{asRoot, c.unprivileged} {
			t.Run(c.script+"/"+c.preset+"/"+who.name, func(t *testing.T) {
				t.Parallel()
				newPlace(t, c.preset).regress(t, c.script, who)
			})
		}
	}
}

// needsSudo are the scripts that change to another user. They skip themselves where whoami prints
// root.
var needsSudo = []string{"agent-getpeereid", "agent-ptrace"}

// sudo is a part of sudo that suffices for OpenSSH's tests. They run with the capabilities to
// change the user.
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

// withoutDSA removes DSA keys from OpenSSH's tests, because only Debian's older OpenSSH has them.
func withoutDSA(t *testing.T, scripts ...string) {
	t.Helper()
	asks := regexp.MustCompile(`(?i)\$?ssh -Q key-(plain|sig) \|`)
	found := false
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		changed := asks.ReplaceAll(text, []byte("${0} grep -v ^ssh-dss |"))
		found = found || len(changed) > len(text)
		if err := os.WriteFile(script, changed, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !found {
		t.Fatalf("none of %q asks ssh for its types of keys", scripts)
	}
}

var skipped = regexp.MustCompile(`(?i)\bskipp`)

// regressLimit bounds one of OpenSSH's tests on a busy machine. All run at once, beside other
// packages' tests, and the longest logs in many times.
const regressLimit = 20 * time.Minute

// regress runs one of OpenSSH's tests, in a copy of all of them.
func (p place) regress(t *testing.T, script string, who account) {
	t.Helper()
	work := filepath.Join(p.dir, "work")
	if out, err := exec.Command("cp", "-a", regress, work).CombinedOutput(); err != nil {
		t.Fatalf("OpenSSH's tests (Debian: openssh-tests): %v: %s", err, out)
	}
	withoutDSA(t, filepath.Join(work, "test-exec.sh"), filepath.Join(work, script+".sh"))
	env := p.env("BUILDDIR="+work, "TEST_SHELL=sh", "TEST_SSH_SSH=ssh", "TEST_SSH_SSHAGENT="+p.program,
		"TEST_SSH_SFTPSERVER=/usr/lib/openssh/sftp-server", "TEST_SSH_UNSAFE_PERMISSIONS=1", "TEST_SSH_PORT="+freePort(t))
	if slices.Contains(needsSudo, script) {
		env = append(env, "SUDO=sudo")
		for name, text := range map[string]string{"sudo": sudo, "whoami": "#!/bin/sh\necho tester\n"} {
			if err := os.WriteFile(filepath.Join(p.dir, "bin", name), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.give(t, who.uid)
	argv := slices.Concat(who.run, []string{"sh", "./test-exec.sh", work, filepath.Join(work, script+".sh")})
	out, err := p.run(t, regressLimit, work, env, argv...)
	if err != nil || !strings.Contains(out, "ok ") {
		t.Errorf("%v:\n%s", err, out)
	}
	for line := range strings.Lines(out) {
		if skipped.MatchString(line) {
			t.Errorf("it was skipped: %s", line)
		}
	}
}
