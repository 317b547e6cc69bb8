//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"keyway/test/lab"
)

// socketless mounts a directory of uid's at its home over sshfs, which makes no sockets.
const socketless = `
import os, subprocess, sys
uid, home = sys.argv[1:]
down, up = os.pipe(), os.pipe()
subprocess.Popen(["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "/usr/lib/openssh/sftp-server"],
                 stdin=down[0], stdout=up[1], stderr=subprocess.DEVNULL, start_new_session=True)
os.dup2(up[0], 0); os.dup2(down[1], 1)
os.execvp("sshfs", ["sshfs", "-f", "-o", "passive,allow_other,default_permissions,idmap=none", ":/srv/" + uid, home])
`

// TestHomes checks workspaces of the host engine in home directories that cannot hold all of its
// files: one whose path is too long for a socket, one from which no program can be run, and one
// without sockets, as on some network file systems.
func TestHomes(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{})
	w.must(t, "keyway", "init", "--yes")
	w.must(t, "keyway", "unlock")
	fullDisks(t, w)
	long := "/home/" + strings.Repeat("l", 122-len("/home/"))
	if err := w.GPU.WriteFile("/root/socketless.py", socketless, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, home := range []struct{ name, prepare string }{
		{"long", "mv /home/long " + long + " && sed -i 's#/home/long#" + long + "#' /etc/passwd"},
		{"noexec", "mount -t tmpfs -o noexec,mode=700,uid=2001,gid=2001 none /mnt && cp -a /home/noexec/.ssh /mnt && mount --move /mnt /home/noexec"},
		{"socketless", "cp -a /home/socketless /srv/2002 && setsid python3 /root/socketless.py 2002 /home/socketless >/dev/null 2>&1 </dev/null & until mountpoint -q /home/socketless; do sleep 0.1; done"},
	} {
		if err := w.AddUser(w.GPU, home.name, 2000+i, home.name); err != nil {
			t.Fatal(err)
		}
		if _, err := w.GPU.Output("sh", "-c", home.prepare); err != nil {
			t.Fatal(err)
		}
		t.Run(home.name, func(t *testing.T) {
			t.Parallel()
			w.must(t, "keyway", "up", "--on", home.name, "--engine", "host", "--name", "in-"+home.name)
			inside := fmt.Sprintf("ssh-add -L && id -u && ls -d %q/agent.sock && keyway run -d --as j -- sh -c 'ssh-add -L >~/seen; sleep 600'", "$KEYWAY_HOME")
			out := w.must(t, "ssh", "-A", "in-"+home.name, inside)
			holds(t, "the agent", out, "lab@laptop\n"+fmt.Sprint(2000+i)+"\n")
			if path := strings.Fields(out[strings.Index(out, "\n/")+1:])[0]; len(path) > 107 {
				t.Errorf("the socket's path is %d bytes long: %s", len(path), path)
			}
			w.must(t, "keyway", "stop", "--yes", "in-"+home.name)
			w.must(t, "keyway", "start", "in-"+home.name)
			holds(t, "the agent after a start", w.must(t, "ssh", "-A", "in-"+home.name, "ssh-add -L"), "lab@laptop\n")
			w.must(t, "keyway", "rm", "--yes", "in-"+home.name)
			if left, _ := w.GPU.Output("sh", "-c", fmt.Sprintf("ls -d /var/tmp/keyway-%d/home-* 2>/dev/null; pgrep -u %d keyway-guest", 2000+i, 2000+i)); left != "" {
				t.Errorf("left: %s", left)
			}
		})
	}
}

// fullDisks fills the disk of the place's state directory, and then the laptop's. It checks that
// the error names the cause, and that nothing is left behind.
func fullDisks(t *testing.T, w *world) {
	t.Helper()
	const fill = "mkdir -p %[1]s && mount -t tmpfs -o size=16k none %[1]s && cp -a %[1]s.old/. %[1]s 2>/dev/null; head -c 64k /dev/zero >%[1]s/all; chown %[2]s %[1]s"
	if err := w.AddUser(w.GPU, "full", 2009, "full"); err != nil {
		t.Fatal(err)
	}
	_, _ = w.GPU.Output("sh", "-c", "mkdir -p /home/full/.local/state && chown -R full /home/full/.local; "+fmt.Sprintf(fill, "/home/full/.local/state/keyway", "full"))
	r := w.do("keyway", "up", "--on", "full", "--engine", "host", "--name", "a")
	if r.Code != 25 || !strings.Contains(r.Stderr, "keyway: full says: the guest program cannot be put into /home/full/.local/state/keyway/") || !strings.Contains(r.Stderr, "see whether there is space, and who may write there: df -h /home/full/.local/state/keyway") {
		t.Errorf("a place whose disk is full: %s", r)
	}

	const state = "/root/.local/state/keyway"
	_, _ = w.Laptop.Output("sh", "-c", "cp -a "+state+" "+state+".old; "+fmt.Sprintf(fill, state, "root"))
	r = w.do("keyway", "up", "--on", "gpu1", "--engine", "host", "--name", "a")
	mustOn(t, w.Laptop, "umount", "-l", state)
	if r.Code != 25 || !strings.Contains(r.Stderr, "keyway: no space left ") || !strings.Contains(r.Stderr, "df -h "+state) {
		t.Errorf("a laptop whose disk is full: %s", r)
	}
	if r := w.do("keyway", "ls", "--on", "gpu1", "--on", "full"); !strings.HasPrefix(r.Stdout, "no workspaces;") || r.Code != 0 {
		t.Errorf("left: %s", r)
	}
}
