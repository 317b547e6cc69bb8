//go:build linux

package guest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/test/await"
)

// strangerUID is a user who owns no Home here.
const strangerUID = 61237

// TestFilesOfOthersAreRefused checks that the guest reads the keys that may enter only from a file
// of the workspace's user, of the owner of the Home or of root, to which no other user can write.
func TestFilesOfOthersAreRefused(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(path string) error
		good  bool
	}{
		"as it was made":    {func(string) error { return nil }, true},
		"another's":         {func(p string) error { return os.Chown(p, strangerUID, strangerUID) }, false},
		"open to the group": {func(p string) error { return os.Chmod(p, 0o664) }, false},
		"open to all":       {func(p string) error { return os.Chmod(p, 0o646) }, false},
		"a link":            {func(p string) error { return replaceBy(p, func() error { return os.Symlink(p+".away", p) }) }, false},
		"a named pipe":      {func(p string) error { return replaceBy(p, func() error { return syscall.Mkfifo(p, 0o644) }) }, false},
		"a device": {func(p string) error {
			return replaceBy(p, func() error { return syscall.Mknod(p, syscall.S_IFCHR|0o644, 240<<8|77) })
		}, false},
		"a directory":          {func(p string) error { return replaceBy(p, func() error { return os.Mkdir(p, 0o755) }) }, false},
		"the Home's owner's":   {func(p string) error { return sharedWith(p, 61238, 61238) }, true},
		"not the Home's own's": {func(p string) error { return sharedWith(p, 61238, strangerUID) }, false},
	} {
		t.Run(what, func(t *testing.T) {
			home := keyway.Home(t.TempDir())
			key := writeKey(t, filepath.Join(t.TempDir(), "id"))
			must(t, os.WriteFile(home.AuthorizedKeys(), ssh.MarshalAuthorizedKey(key), 0o644))
			must(t, c.spoil(home.AuthorizedKeys()))
			_, err := findAuthorized(home, key)
			if (err == nil) != c.good {
				t.Errorf("the file says who may enter: %v, %v", err == nil, err)
			}
			if errors.Is(err, syscall.ENXIO) { // the error of opening a device without a driver
				t.Errorf("it was opened: %v", err)
			}
		})
	}
}

func replaceBy(path string, set func() error) error {
	if err := os.Rename(path, path+".away"); err != nil {
		return err
	}
	return set()
}

// sharedWith gives the directory of path to one user and the file to another.
func sharedWith(path string, dir, file int) error {
	if err := os.Chown(filepath.Dir(path), dir, dir); err != nil {
		return err
	}
	return os.Chown(path, file, file)
}

// letThrough lets all users enter dir and the directories above it. It does not change directories
// that all users can enter already, such as /tmp.
func letThrough(t *testing.T, dir string) {
	t.Helper()
	const open = 0o555
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if mode := stat(t, dir).Mode(); mode.Perm()&open != open {
			must(t, os.Chmod(dir, mode|open))
		}
	}
}

// as runs a command of the guest program as another user.
func (w *workspace) as(uid uint32, args ...string) *exec.Cmd {
	w.t.Helper()
	letThrough(w.t, filepath.Dir(guestProgram))
	letThrough(w.t, string(w.home))
	cmd := w.command(guestProgram, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	cmd.Dir = "/"
	return cmd
}

func stat(t *testing.T, path string) fs.FileInfo {
	t.Helper()
	st, err := os.Lstat(path)
	must(t, err)
	return st
}

// TestStrangersAreNotAnswered checks that the guest answers its own uid, the owner of the Home and
// root, and no other user.
func TestStrangersAreNotAnswered(t *testing.T) {
	home, _ := newHome(t)
	const owner = 61238
	w := startWorkspaceIn(t, home, "")
	must(t, os.Chown(string(home), owner, owner))
	must(t, syscall.Kill(w.awaitInfo().PID, syscall.SIGKILL)) // the next server sees the owner of the Home
	await.That(t, "the owner is answered", func() bool { return w.greets(owner) })
	if !w.greets(0) {
		t.Error("root is not answered")
	}
	for _, uid := range []uint32{1, 1000, strangerUID, overflowUID} {
		if w.greets(uid) {
			t.Errorf("uid %d is answered", uid)
		}
	}
}

// greets reports whether the guest sends anything to that user.
func (w *workspace) greets(uid uint32) bool {
	w.t.Helper()
	cmd := w.as(uid, "dial", "--home", string(w.home))
	cmd.Stdin = strings.NewReader("SSH-2.0-test\r\n")
	out, _ := cmd.Output()
	return bytes.HasPrefix(out, []byte("SSH-2.0-"))
}

// TestGuestsPartOfItsHome checks that the guest's files are closed to others, whatever the umask,
// and that the guest uses no file that another user has made.
func TestGuestsPartOfItsHome(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077} {
		home, _ := newHome(t)
		old := syscall.Umask(umask)
		err := prepareHome(home)
		var s sockets
		if err == nil {
			s, err = bindSockets(home)
		}
		syscall.Umask(old)
		must(t, err)
		defer s.Close()
		for path, perm := range map[string]fs.FileMode{home.Sessions(): 0o700, home.AgentSocket(): 0o600, home.Socket(): 0o666} {
			if got := stat(t, path).Mode().Perm(); got != perm {
				t.Errorf("umask %#o: %s has mode %#o, want %#o", umask, path, got, perm)
			}
		}
	}
	for what, plant := range map[string]func(path string) error{
		"another's directory": func(p string) error { return errors.Join(os.Mkdir(p, 0o777), os.Chown(p, strangerUID, strangerUID)) },
		"a link":              func(p string) error { return os.Symlink("/tmp", p) },
		"a file":              func(p string) error { return os.WriteFile(p, nil, 0o600) },
	} {
		home, _ := newHome(t)
		must(t, os.Mkdir(home.Data(), 0o777))
		must(t, plant(home.Sessions()))
		if err := prepareHome(home); err == nil {
			t.Errorf("%s in the place of the sessions is taken over", what)
		}
	}
}

// TestTheCommandComesLast checks that the command starts after the server, and cannot read the host
// key.
func TestTheCommandComesLast(t *testing.T) {
	home, _ := newHome(t)
	script := fmt.Sprintf("test -S %[1]s/guest.sock && test -f %[1]s/guest.json || exit 3; test -z \"$(cat)\" || exit 4; ls -l /proc/self/fd", home)
	cmd := exec.Command(home.Program(), "init", "--home", string(home), "--", "sh", "-c", script)
	key := newPrivateKey(t)
	cmd.Stdin = strings.NewReader(string(keyway.MarshalHostKey(key)) + "what follows")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "socket:") || strings.Contains(string(out), "init.lock") {
		t.Errorf("the command has descriptors of the guest's:\n%s", out)
	}
}

// TestNoGuestWithoutAHostKey checks that a guest does not start without a host key, and says so.
func TestNoGuestWithoutAHostKey(t *testing.T) {
	for what, in := range map[string]string{"nothing": "", "junk": strings.Repeat("x", 200), "a part": "keyway-host-key-1 "} {
		home, _ := newHome(t)
		cmd := exec.Command(home.Program(), "init", "--home", string(home), "--", "sh", "-c", "echo the image runs")
		cmd.Env = append(os.Environ(), keyway.EnvName+"=train")
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "keyway start train") || strings.Contains(string(out), "the image runs") {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
		if _, err := os.Lstat(home.Socket()); err == nil {
			t.Errorf("%s: it serves", what)
		}
	}
	start := time.Now()
	var pipe [2]int
	must(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	if _, err := keyway.ReadHostKey(&patientReader{fd: pipe[0], until: start.Add(50 * time.Millisecond)}); err == nil {
		t.Error("a key came of nothing")
	}
}

// TestCallersWaitForTheNextServer checks that callers wait while a server is started again, and
// that the key stays the same.
func TestCallersWaitForTheNextServer(t *testing.T) {
	w := startWorkspace(t)
	for range 3 {
		must(t, syscall.Kill(w.awaitInfo().PID, syscall.SIGKILL))
		w.output(w.ssh("ws", "true"))
	}
}

func TestReadOwnedIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	must(t, os.WriteFile(path, make([]byte, 101), 0o644))
	if _, err := readOwned(path, 100, owners{0}); err == nil {
		t.Error("more than its limit is read")
	}
	if _, err := readOwned(path, 101, nil); err == nil {
		t.Error("nobody's file is read")
	}
}
