//go:build linux

package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keyway/internal/keyway"
)

// startEmptyImage runs the guest in a root directory with nothing in it but the
// guest, one static program and no passwd, as another user than root.
func startEmptyImage(t *testing.T, uid int) *workspace {
	t.Helper()
	root := t.TempDir()
	must(t, os.Chmod(root, 0o755))
	must(t, os.Chmod(filepath.Dir(root), 0o755))
	inside := keyway.GuestHome
	outside := keyway.Home(filepath.Join(root, string(inside)))
	must(t, os.MkdirAll(outside.Bin(), 0o755))
	copyProgram(t, guestProgram, outside.Program())
	copyProgram(t, "/usr/bin/busybox", filepath.Join(root, "busybox"))
	key := filepath.Join(t.TempDir(), "id")
	writeKey(t, key)
	keys, err := os.ReadFile(key + ".pub")
	must(t, err)
	must(t, os.WriteFile(outside.AuthorizedKeys(), keys, 0o644))
	must(t, os.Mkdir(filepath.Join(root, "etc"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0::/root:/bin/sh"), 0o666))
	must(t, os.Chmod(filepath.Join(root, "etc/passwd"), 0o666))
	must(t, os.Chown(string(outside), uid, uid))
	must(t, os.Chown(outside.Bin(), uid, uid))

	w := &workspace{t: t, home: outside, dir: t.TempDir(), news: &lockedBuffer{}}
	w.init = exec.Command(inside.Program(), "init", "--home", string(inside))
	w.init.Dir = "/"
	w.init.Path = inside.Program()
	w.init.Env = []string{"HOME=/"}
	w.init.Stdout, w.init.Stderr = w.news, w.news
	w.init.SysProcAttr = &syscall.SysProcAttr{
		Chroot:     root,
		Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)},
	}
	w.kept = handOver(t, w.init)
	must(t, w.init.Start())
	t.Cleanup(w.stop)
	w.info = w.awaitInfo()
	w.writeConfig(key)
	return w
}

func copyProgram(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, data, 0o755))
}

func TestEmptyImage(t *testing.T) {
	w := startEmptyImage(t, 1234)
	if w.info.User != "keyway" || w.info.Shell != "" || w.info.Home != "/.keyway/data/home" {
		t.Fatalf("got %+v", w.info)
	}
	for _, c := range []struct {
		args           []string
		stdout, stderr string
		code           int
	}{
		{[]string{"ws"}, "", "this image has no shell; run a program by its path: ssh NAME /path/to/program", 127},
		{[]string{"ws", "/busybox echo 'a  b' c\\ d"}, "a  b c d\n", "", 0},
		{[]string{"ws", "/busybox pwd"}, "/.keyway/data/home\n", "", 0},
		{[]string{"ws", "/busybox echo a | /busybox cat"}, "", "needs a shell", 126},
		{[]string{"ws", "/busybox echo $HOME"}, "", "needs a shell", 126},
		{[]string{"ws", "/busybox sh -c 'echo $HOME; exit 4'"}, "/.keyway/data/home\n", "", 4},
		{[]string{"ws", "ls"}, "", "ls: no such program in ", 127},
		{[]string{"ws", "/none"}, "", "no such file", 127},
	} {
		r := w.run(w.ssh(c.args...))
		if r.stdout != c.stdout || !strings.Contains(r.stderr, c.stderr) || r.code != c.code {
			t.Errorf("%q: got %+v", c.args, r)
		}
	}
}

func TestEmptyImageGetsAPasswdEntry(t *testing.T) {
	w := startEmptyImage(t, 1234)
	passwd, err := os.ReadFile(filepath.Join(filepath.Dir(string(w.home)), "etc/passwd"))
	must(t, err)
	want := "root:x:0:0::/root:/bin/sh\nkeyway:x:1234:1234:keyway:/.keyway/data/home:/sbin/nologin\n"
	if string(passwd) != want {
		t.Fatalf("got %q", passwd)
	}
	if out := w.output(w.ssh("ws", "/busybox whoami")); out != "keyway\n" {
		t.Fatalf("got %q", out)
	}
}

func TestEmptyImageCopies(t *testing.T) {
	w := startEmptyImage(t, 1234)
	tree := filepath.Join(w.dir, "tree")
	must(t, os.MkdirAll(filepath.Join(tree, "sub"), 0o750))
	randomFile(t, filepath.Join(tree, "sub/data"), 5<<20)
	randomFile(t, filepath.Join(tree, "a b"), 0)
	must(t, os.Chmod(filepath.Join(tree, "sub/data"), 0o640))
	must(t, os.WriteFile(filepath.Join(tree, "longer"), []byte(strings.Repeat("x", 1000)), 0o600))
	for _, protocol := range []string{"-s", "-O"} {
		up, down := "up"+protocol, filepath.Join(w.dir, "down"+protocol)
		for range 2 { // the second time into the existing directory, one level deeper
			w.output(w.command("scp", "-F", w.config, protocol, "-r", "-p", tree, "ws:"+up))
		}
		w.output(w.command("scp", "-F", w.config, protocol, "-r", "-p", "ws:"+up+"/tree", down))
		w.output(w.command("diff", "-r", tree, down))
		info, err := os.Stat(filepath.Join(down, "sub/data"))
		must(t, err)
		original, err := os.Stat(filepath.Join(tree, "sub/data"))
		must(t, err)
		if info.Mode() != original.Mode() || info.ModTime().Unix() != original.ModTime().Unix() {
			t.Errorf("%s: mode %v, time %v instead of %v, %v", protocol, info.Mode(), info.ModTime(), original.Mode(), original.ModTime())
		}
	}
	// A shorter file over a longer one.
	must(t, os.WriteFile(filepath.Join(w.dir, "short"), []byte("y"), 0o600))
	w.output(w.command("scp", "-F", w.config, "-O", "short", "ws:up-O/longer"))
	if out := w.output(w.ssh("ws", "/busybox cat up-O/longer")); out != "y" {
		t.Errorf("got %d bytes", len(out))
	}
	r := w.run(w.command("scp", "-F", w.config, "-O", "ws:none", w.dir))
	if r.code == 0 || !strings.Contains(r.stderr, "none") {
		t.Errorf("a file that is not there: %+v", r)
	}
	r = w.run(w.command("scp", "-F", w.config, "-O", "short", "ws:/no/such/place"))
	if r.code == 0 || !strings.Contains(r.stderr, "no such file") {
		t.Errorf("a place that is not there: %+v", r)
	}
}
