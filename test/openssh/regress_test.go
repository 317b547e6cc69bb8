//go:build linux

// Package openssh runs OpenSSH's own regression tests of its server against a workspace's
// guest.
//
// The tests start sshd with a configuration of theirs. Here, they start a short script instead,
// which passes each connection to a guest. A guest does not have sshd's options; tests that
// depend on them are excluded by name below.
package openssh

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
	"keyway/test/lab"
	"keyway/test/lab/run"
)

// regress is the directory of these tests in Debian's package openssh-tests.
const regress = "/usr/lib/openssh/regress"

// program is the guest.
var program string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == relayWord {
		os.Exit(relayMain(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == filterWord {
		os.Exit(filterMain(os.Args[2:]))
	}
	run.Main(m, "test/openssh", runAll)
}

func runAll(m *testing.M) (code int, err error) {
	ctx := context.Background()
	flag.Parse() // they wait more than they compute
	if err := flag.Set("test.parallel", strconv.Itoa(4*runtime.NumCPU())); err != nil {
		return 1, err
	}
	if err := lab.Install(ctx, "test"); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "kwossh")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program = filepath.Join(dir, keyway.GuestProgram)
	root, err := lab.ModuleRoot()
	if err != nil {
		return 1, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/keyway-guest")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="+os.Getenv("GOFLAGS")+" -buildvcs=false")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// scripts are OpenSSH's tests, the long ones first.
var scripts = []string{
	"rekey", "transfer", "multiplex", "forwarding", "dynamic-forward", "sftp-perm", "sftp", "stderr-after-eof", "stderr-data", "putty-transfer",
	"putty-ciphers", "putty-kex", "scp", "scp3", "exit-status", "exit-status-signal", "sftp-cmds", "sftp-badcmds", "sftp-glob", "sftp-batch",
	"sftp-uri", "scp-uri", "connect", "connect-uri", "broken-pipe", "yes-head",
}

// parts of a script, which end where they need an option that a guest does not have.
var parts = map[string]string{
	// The server's RekeyLimit: the client's alone is configured here.
	"rekey": "for s in 16 1k 128k 256k; do\n\tverbose \"server rekeylimit",
}

func TestOpenSSHRegress(t *testing.T) {
	for _, script := range scripts {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			newPlace(t).run(script)
		})
	}
}

// place is a copy of all of OpenSSH's tests, and a guest's home.
type place struct {
	t               *testing.T
	dir, work, home string
}

func (p *place) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func newPlace(t *testing.T) *place {
	t.Helper()
	dir, err := os.MkdirTemp("", "kwr") // sockets need short paths
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &place{t: t, dir: dir, work: filepath.Join(dir, "work"), home: filepath.Join(dir, "kw")}
	if out, err := exec.Command("cp", "-a", regress, p.work).CombinedOutput(); err != nil {
		t.Fatalf("OpenSSH's tests (Debian: openssh-tests): %v: %s", err, out)
	}
	p.must(os.MkdirAll(filepath.Join(p.home, "bin"), 0o755))
	p.must(os.Link(program, filepath.Join(p.home, "bin", keyway.GuestProgram)))
	p.must(os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	p.makeKey()
	p.writeScripts()
	return p
}

// makeKey makes the guest's host key, which is also OpenSSH's tests' key of that
// type: they take one that is there.
func (p *place) makeKey() {
	file := filepath.Join(p.work, "ssh-ed25519")
	if out, err := exec.Command("ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", file).CombinedOutput(); err != nil {
		p.t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(file)
	p.must(err)
	key, err := ssh.ParseRawPrivateKey(data)
	p.must(err)
	private := *key.(*ed25519.PrivateKey)
	p.must(os.WriteFile(filepath.Join(p.dir, "hostkey"), keyway.MarshalHostKey(private), 0o600))
	public, err := ssh.NewPublicKey(private.Public())
	p.must(err)
	p.must(os.WriteFile(filepath.Join(p.dir, "fingerprint"), []byte(ssh.FingerprintSHA256(public)), 0o644))
	line := ssh.MarshalAuthorizedKey(public)
	p.must(os.WriteFile(filepath.Join(p.home, "authorized_keys"), line, 0o600))
	p.must(os.WriteFile(filepath.Join(p.dir, "known_hosts"), append([]byte("ws "), line...), 0o600))
}

// shims has the programs that OpenSSH's tests start, by name. $D is the place.
var shims = map[string]string{
	// sshd: with -t it looks at its configuration, with -i it serves its standard
	// input, else a port until it is told to end.
	"sshd": `
for a in "$@"; do case $a in -T) exec /usr/sbin/sshd "$@" ;; esac; done
install -m 600 "$D/work/authorized_keys_root" "$D/kw/authorized_keys"
for a in "$@"; do
  case $a in
    -t) exit 0 ;;
    -i) exec "$D/kw/bin/keyway-guest" dial --home "$D/kw" ;;
  esac
done
exec setsid "$RELAY" relay "$D/work/pidfile" "$(awk '$1 == "Port" { print $2; exit }' "$D/work/sshd_config")" "$D/kw/guest.sock" </dev/null >/dev/null 2>&1 &
`,
	// ssh: its lists are those of what it shares with a guest.
	"ssh": `
[ "$1" = -Q ] || exec /usr/bin/ssh "$@"
/usr/bin/ssh "$@" | case $2 in
  kex|cipher*|mac) grep -xFf "$D/offer" ;;
  *) cat ;;
esac
exit 0
`,
	// sftp-server: SFTP of the guest.
	"sftp-server": `exec "$RELAY" filter "$@" behind /usr/bin/ssh -q -F "$D/config" -s ws sftp` + "\n",
	// plink: PuTTY's file of host keys has none of Ed25519.
	"plink": `exec /usr/bin/plink -hostkey "$(cat "$D/fingerprint")" "$@"` + "\n",
	// world runs one of the tests beside a guest, in a network of its own.
	"world": `set -e
ip link set lo up
"$D/kw/bin/keyway-guest" init --home "$D/kw" <"$D/hostkey" >"$D/log" 2>&1 & guest=$!
trap 'kill $guest; wait $guest || true; [ $code = 0 ] || cat "$D/log"' EXIT
code=1
"$D/kw/bin/keyway-guest" info --home "$D/kw" >/dev/null
/usr/bin/ssh -vv -F "$D/config" ws true 2>&1 | awk '/peer server KEXINIT/ { on = 1 } on && /algorithms: |ciphers |MACs / { print $NF } /KEX algorithms/ && on { print $NF }' | tr , '\n' >"$D/offer"
test -s "$D/offer"
code=0
sh ./test-exec.sh "$D/work" "$1" || code=$?
exit $code
`,
}

func (p *place) writeScripts() {
	self, err := os.Executable()
	p.must(err)
	for name, text := range shims {
		head := fmt.Sprintf("#!/bin/sh\nD=%s RELAY=%s\n", p.dir, self)
		p.must(os.WriteFile(filepath.Join(p.dir, "bin", name), []byte(head+text), 0o755))
	}
	p.must(os.WriteFile(filepath.Join(p.dir, "config"), []byte(strings.Join([]string{
		"Host ws", "User root", "IdentityFile " + filepath.Join(p.work, "ssh-ed25519"), "IdentitiesOnly yes", "StrictHostKeyChecking yes",
		"UserKnownHostsFile " + filepath.Join(p.dir, "known_hosts"), "GlobalKnownHostsFile none",
		"ProxyCommand " + filepath.Join(p.home, "bin", keyway.GuestProgram) + " dial --home " + p.home, "",
	}, "\n")), 0o600))
}

// bound ends a script that hangs. The longest takes two minutes and sleeps most of the time.
const bound = 8 * time.Minute

func (p *place) run(script string) {
	p.t.Helper()
	file := filepath.Join(p.work, script+".sh")
	if end := parts[script]; end != "" {
		text, err := os.ReadFile(file)
		p.must(err)
		part, _, ok := bytes.Cut(text, []byte(end))
		if !ok {
			p.t.Fatalf("%s has no part that begins with %q", file, end)
		}
		p.must(os.WriteFile(file, part, 0o755))
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), bound)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--net", filepath.Join(p.dir, "bin", "world"), file)
	cmd.Dir = p.work
	cmd.Env = p.env()
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("ok ")) {
		p.t.Errorf("%v:\n%s%s", err, out, p.logs())
	}
	if lower := bytes.ToLower(out); bytes.Contains(lower, []byte("skipp")) {
		p.t.Errorf("a part was skipped:\n%s", out)
	}
}

// logs returns the end of the logs of OpenSSH's tests.
func (p *place) logs() string {
	var b strings.Builder
	for _, name := range []string{"failed-regress.log", "failed-ssh.log"} {
		data, err := os.ReadFile(filepath.Join(p.work, name))
		if err == nil {
			fmt.Fprintf(&b, "%s:\n%s\n", name, data[max(0, len(data)-4000):])
		}
	}
	return b.String()
}

func (p *place) env() []string {
	bin := func(name string) string { return filepath.Join(p.dir, "bin", name) }
	return slices.Concat([]string{
		"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin:.", "HOME=" + p.dir, "USER=root", "LOGNAME=root", "LANG=C", "SHELL=/bin/sh",
		"BUILDDIR=" + p.work, "TEST_SHELL=sh", "TEST_SSH_UNSAFE_PERMISSIONS=1", "TEST_SSH_PORT=4242",
		"TEST_SSH_SSHD=" + bin("sshd"), "TEST_SSH_SSH=" + bin("ssh"), "TEST_SSH_SFTPSERVER=" + bin("sftp-server"), "TEST_SSH_PLINK=" + bin("plink"),
		"TEST_SSH_PUTTYGEN=puttygen",
	})
}
