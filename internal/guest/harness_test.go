//go:build linux

package guest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
	"keyway/test/await"
)

// patience bounds a test's wait for an event that must come.
const patience = await.Patience

// guestProgram is the program as it is shipped, built once for all tests.
var guestProgram string

func TestMain(m *testing.M) {
	os.Exit(withProgram(m.Run))
}

func withProgram(run func() int) int {
	dir, err := os.MkdirTemp("", "keyway-guest-test")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	guestProgram = filepath.Join(dir, keyway.GuestProgram)
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", guestProgram, "keyway/cmd/keyway-guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v\n%s", err, out))
	}
	return run()
}

// workspace is a home with the guest running in it, and a stock client's
// configuration to reach it.
type workspace struct {
	t      *testing.T
	kept   ed25519.PrivateKey // the host key that the test hands over
	home   keyway.Home
	dir    string // for the test's files
	config string // ssh_config
	init   *exec.Cmd
	info   keyway.GuestInfo
	news   *lockedBuffer // the output of init and serve
}

// lockedBuffer collects a process's output while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newHome makes a home with a key that may enter, and returns the key's file.
func newHome(t *testing.T) (keyway.Home, string) {
	t.Helper()
	home := keyway.Home(filepath.Join(t.TempDir(), "home"))
	must(t, os.MkdirAll(home.Bin(), 0o755))
	must(t, os.Link(guestProgram, home.Program()))
	keyFile := filepath.Join(t.TempDir(), "id")
	key := writeKey(t, keyFile)
	must(t, os.WriteFile(home.AuthorizedKeys(), ssh.MarshalAuthorizedKey(key), 0o600))
	return home, keyFile
}

func newPrivateKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return private
}

func writeKey(t *testing.T, path string) ssh.PublicKey {
	t.Helper()
	private := newPrivateKey(t)
	public := private.Public()
	block, err := ssh.MarshalPrivateKey(private, "test")
	must(t, err)
	must(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	key, err := ssh.NewPublicKey(public)
	must(t, err)
	must(t, os.WriteFile(path+".pub", ssh.MarshalAuthorizedKey(key), 0o600))
	return key
}

// startWorkspace runs init in a new home until the test ends.
func startWorkspace(t *testing.T, command ...string) *workspace {
	t.Helper()
	return startWorkspaceAs(t, "", command...)
}

// startWorkspaceAs is startWorkspace where passwd names that login shell; empty: the
// machine's own.
func startWorkspaceAs(t *testing.T, shell string, command ...string) *workspace {
	t.Helper()
	home, key := newHome(t)
	w := startWorkspaceIn(t, home, shell, command...)
	w.writeConfig(key)
	return w
}

// startWorkspaceIn runs init in a home until the test ends.
func startWorkspaceIn(t *testing.T, home keyway.Home, shell string, command ...string) *workspace {
	t.Helper()
	w := &workspace{t: t, home: home, dir: t.TempDir(), news: &lockedBuffer{}}
	args := []string{"init", "--home", string(home)}
	if len(command) > 0 {
		args = append(append(args, "--"), command...)
	}
	w.init = exec.Command(home.Program(), args...)
	if shell != "" {
		path, err := exec.LookPath(shell)
		must(t, err)
		passwd := filepath.Join(w.dir, "passwd")
		must(t, os.WriteFile(passwd, []byte("root:x:0:0::"+w.dir+":"+path+"\n"), 0o644))
		w.init = exec.Command("unshare", append([]string{"--mount", "sh", "-c", `mount --bind "$0" /etc/passwd && exec "$@"`, passwd, home.Program()}, args...)...)
	}
	w.init.Dir = w.dir
	w.init.Env = append(os.Environ(), "HOME="+w.dir, "IMAGE_SAYS=from the image")
	w.init.Stdout, w.init.Stderr = w.news, w.news
	w.kept = handOver(t, w.init)
	must(t, w.init.Start())
	t.Cleanup(w.stop)
	w.info = w.awaitInfo()
	return w
}

// handOver gives a first process that is about to be started a new host key.
func handOver(t *testing.T, init *exec.Cmd) ed25519.PrivateKey {
	t.Helper()
	key := newPrivateKey(t)
	init.Stdin = bytes.NewReader(keyway.MarshalHostKey(key))
	return key
}

// hostKey returns the workspace's host key in authorized_keys form.
func (w *workspace) hostKey() string {
	return keyway.PublicHostKey(w.kept.Public().(ed25519.PublicKey))
}

func (w *workspace) awaitInfo() keyway.GuestInfo {
	w.t.Helper()
	out, err := exec.Command(guestProgram, "info", "--home", string(w.home)).CombinedOutput()
	if err != nil {
		w.t.Fatalf("info: %v %s\n%s", err, out, w.news)
	}
	info, err := keyway.DecodeInfo(bytes.NewReader(out))
	must(w.t, err)
	return info
}

// writeConfig writes the ssh_config that keyway would write, except that dial makes the connection.
func (w *workspace) writeConfig(key string) {
	known := filepath.Join(w.dir, "known_hosts")
	must(w.t, os.WriteFile(known, []byte("ws "+w.hostKey()+"\n"), 0o600))
	w.config = filepath.Join(w.dir, "config")
	must(w.t, os.WriteFile(w.config, []byte(strings.Join([]string{
		"Host ws",
		"  User " + w.info.User,
		"  IdentityFile " + key,
		"  IdentitiesOnly yes",
		"  UserKnownHostsFile " + known,
		"  GlobalKnownHostsFile none",
		"  StrictHostKeyChecking yes",
		"  Ciphers aes128-gcm@openssh.com",
		"  ProxyCommand " + guestProgram + " dial --home " + string(w.home),
		"",
	}, "\n")), 0o600))
}

// stop ends the workspace as an engine would and waits for it.
func (w *workspace) stop() {
	if w.init.ProcessState != nil {
		return
	}
	_ = w.init.Process.Signal(syscall.SIGTERM)
	_ = w.init.Wait()
}

// command returns a client of the workspace that the test's end kills.
func (w *workspace) command(name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	w.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK=")
	return cmd
}

func (w *workspace) ssh(args ...string) *exec.Cmd {
	return w.command("ssh", append([]string{"-F", w.config}, args...)...)
}

// result holds the end of a command.
type result struct {
	stdout, stderr string
	code           int
}

func (w *workspace) run(cmd *exec.Cmd) result {
	w.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatalf("%v: %v", cmd.Args, err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// output runs cmd, which has to succeed, and returns its output.
func (w *workspace) output(cmd *exec.Cmd) string {
	w.t.Helper()
	r := w.run(cmd)
	if r.code != 0 {
		w.t.Fatalf("%v: exit %d\nstdout: %s\nstderr: %s\nguest: %s", cmd.Args, r.code, r.stdout, r.stderr, w.news)
	}
	return r.stdout
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// randomFile makes a file in which no piece occurs twice.
func randomFile(t *testing.T, path string, size int64) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	_, err = io.CopyN(f, rand.Reader, size)
	must(t, err)
	must(t, f.Close())
}

func sameFiles(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	must(t, err)
	y, err := os.ReadFile(b)
	must(t, err)
	if !bytes.Equal(x, y) {
		t.Fatalf("%s (%d bytes) and %s (%d bytes) differ", a, len(x), b, len(y))
	}
}
