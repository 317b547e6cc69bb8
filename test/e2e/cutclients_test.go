//go:build linux

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"keyway/test/lab"
	"keyway/test/lab/run"
)

const libsshClient = `
#include <libssh/libssh.h>
#include <stdio.h>
int main(int argc, char **argv) {
  char buf[4096];
  int n, status;
  ssh_session s = ssh_new();
  ssh_channel c;
  ssh_options_set(s, SSH_OPTIONS_HOST, argv[1]);
  if (ssh_options_parse_config(s, NULL) || ssh_connect(s)) { fprintf(stderr, "%s\n", ssh_get_error(s)); return 101; }
  if (ssh_session_is_known_server(s) != SSH_KNOWN_HOSTS_OK) return 102;
  if (ssh_userauth_publickey_auto(s, NULL, NULL) != SSH_AUTH_SUCCESS) { fprintf(stderr, "%s\n", ssh_get_error(s)); return 103; }
  c = ssh_channel_new(s);
  if (ssh_channel_open_session(c) || ssh_channel_request_exec(c, argv[2])) return 104;
  while ((n = ssh_channel_read(c, buf, sizeof buf, 0)) > 0) fwrite(buf, 1, n, stdout);
  status = ssh_channel_get_exit_status(c);
  ssh_channel_free(c); ssh_disconnect(s); ssh_free(s);
  return status;
}
`

const fabricClient = `
from fabric import Connection, Config
with Connection("train", config=Config(runtime_ssh_path="/root/printed")) as c:
    for i in range(3):
        assert c.run("sleep 1; echo $((%d + 1))" % i, hide=True).stdout == "%d\n" % (i + 1)
    c.put("/root/src/1", "/tmp/fabric"); c.get("/tmp/fabric", "/root/fabric")
assert open("/root/src/1", "rb").read() == open("/root/fabric", "rb").read()
`

// trampClient edits, copies, lists and runs as Emacs does with a remote directory, twice: the
// second time over a connection of its own.
const trampClient = `
(require 'cl-lib)
(require 'tramp)
(setq tramp-verbose 1 auth-sources nil make-backup-files nil)
(dotimes (i 2)
  (let* ((dir (format "/ssh:train:/tmp/tramp%d/" i)) (file (concat dir "file")) (default-directory "/"))
    (make-directory dir)
    (with-current-buffer (find-file-noselect file)
      (insert "first\n") (save-buffer)
      (sleep-for 1)
      (insert "second\n") (save-buffer) (kill-buffer))
    (with-temp-buffer (insert-file-contents file) (cl-assert (equal (buffer-string) "first\nsecond\n")))
    (with-current-buffer (dired-noselect dir) (cl-assert (search-forward "file" nil t)))
    (copy-file "/root/src/1" (concat dir "copy"))
    (copy-file (concat dir "copy") "/root/tramp" t)
    (cl-assert (= 0 (call-process "cmp" nil nil nil "/root/src/1" "/root/tramp")))
    (let ((default-directory dir))
      (cl-assert (equal (shell-command-to-string "sleep 1; wc -l <file") "2\n"))
      (with-temp-buffer
        (cl-assert (= 7 (process-file "sh" nil t nil "-c" "echo in; exit 7")))
        (cl-assert (equal (buffer-string) "in\n"))))
    (delete-directory dir t)
    (tramp-cleanup-all-connections)))
`

// tcpFor runs a command of a client that only connects to addresses: a port of the loopback leads
// to the workspace while it runs.
const tcpFor = `
import socket, subprocess, sys, threading
door = socket.create_server(("127.0.0.1", 2222))
def serve():
    while True:
        conn, _ = door.accept()
        subprocess.Popen(["sh", "-c", "cat | keyway proxy train | cat"], stdin=conn, stdout=conn)
        conn.close()
threading.Thread(target=serve, daemon=True).start()
sys.exit(subprocess.run(sys.argv[1:]).returncode)
`

// findTrain sets variables for clients that do not read ssh_config.
const findTrain = `of() { ssh -G train | sed -n "s/^$1 //p"; }
export SSH_AUTH_SOCK="$(of identityagent)"
key="$(sed -n 's/^train.keyway //p' "$(of userknownhostsfile)")"
`

// clientScripts has typical uses of clients with an SSH implementation of their own. Clients with a
// server part have it from the machine itself, in the workspace side.
var clientScripts = map[string]string{
	"libssh by config": `gcc -o libssh-client libssh-client.c -lssh
for i in 1 2 3; do ./libssh-client train 'sleep 1; echo in; exit 7' >libssh.out && exit 1; [ $? = 7 ]; [ "$(cat libssh.out)" = in ]; done`,
	"Fabric by config": `keyway init --print >printed
SSH_AUTH_SOCK=$(ssh -G train | sed -n 's/^identityagent //p') /usr/bin/python3 -W ignore fabric-client.py`,
	"AsyncSSH by config": `for i in 1 2 3 4; do /usr/bin/python3 -W ignore asyncssh-config.py; sleep 0.5; done`,
	"Emacs TRAMP":        `emacs --batch -Q -l tramp.el`,
	"npm's ssh2":         findTrain + `node ssh2/drive.js "$key" "$SSH_AUTH_SOCK"`,
	"rclone": findTrain + `echo "[127.0.0.1]:2222 $key" >rclone-known
export RCLONE_CONFIG=/root/rclone.conf RCLONE_LOW_LEVEL_RETRIES=1 RCLONE_RETRIES=1
rclone config create train sftp host=127.0.0.1 port=2222 user=root key_use_agent=true known_hosts_file=/root/rclone-known >rclone.out
r() { python3 tcp-for.py rclone "$@"; }
for i in 1 2 3; do r copy src train:/tmp/rclone$i; r check src train:/tmp/rclone$i; done
r moveto train:/tmp/rclone1/1 train:/tmp/rclone1/moved; r purge train:/tmp/rclone2; r sync train:/tmp/rclone3 rclone-back
diff -r src rclone-back; [ "$(r lsf train:/tmp/rclone1 | tr '\n' ' ')" = "2 3 moved " ]`,
	"restic": `export RESTIC_PASSWORD=lab RESTIC_REPOSITORY=sftp:train:/tmp/restic RESTIC_CACHE_DIR=/root/restic-cache
restic init
for i in 1 2 3; do restic backup -q src; sleep 0.5; done
restic check --read-data; restic restore -q latest --target restored; diff -r src restored/src`,
	"lftp": `lftp -c "set sftp:connect-program 'ssh -a -x'; set net:max-retries 1; open sftp://train; mirror -R src /tmp/lftp; mirror /tmp/lftp lftp; mirror -R src /tmp/lftp2"
diff -r src lftp`,
	"unison": `unison -batch -auto -logfile /root/unison.log src ssh://side//srv/unison
echo more >src2/more
for i in 1 2 3; do echo $i >src2/new$i; unison -batch -auto -logfile /root/unison.log src2 ssh://side//srv/unison2; sleep 0.5; done`,
	"borg": `export BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes
borg init -e none ssh://side/srv/borg
for i in 1 2 3; do borg create ssh://side/srv/borg::$i src; done
borg check ssh://side/srv/borg`,
	"docker -H": `for i in 1 2 3 4 5; do docker -H ssh://side ps --format '{{.Names}}' | grep -q train; sleep 0.5; done`,
	"ansible, pipelining and async": `echo 'train ansible_python_interpreter=/usr/bin/python3' >hosts
export ANSIBLE_PIPELINING=True ANSIBLE_NOCOLOR=1
ansible -i hosts all -m command -a 'sleep 2' -B 30 -P 1
ansible -i hosts all -m copy -a 'src=src/1 dest=/tmp/ansible'
ssh train cat /tmp/ansible | cmp - src/1`,
}

// npm puts a directory of testdata onto the laptop, with the packages of npm's that its
// package-lock.json pins.
func (w *world) npm(t *testing.T, name string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("npm", "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=5")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	if err := os.CopyFS(w.Laptop.Path("/root/"+name), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
}

// TestClientsThroughCuts checks other clients at work while the bastion dies again and again.
func TestClientsThroughCuts(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Base}})
	if err := w.unlockAndUp(); err != nil {
		t.Fatal(err)
	}
	w.must(t, "keyway", "up", "--on", "gpu1", "--engine", "host", "--name", "side")
	w.write(t, "/root/libssh-client.c", libsshClient)
	w.write(t, "/root/fabric-client.py", fabricClient)
	w.write(t, "/root/asyncssh-config.py", asyncsshByConfig)
	w.write(t, "/root/tcp-for.py", tcpFor)
	w.write(t, "/root/tramp.el", trampClient)
	w.npm(t, "ssh2")
	w.must(t, "sh", "-c", "mkdir src src2; for i in 1 2 3; do head -c 2000000 /dev/urandom >src/$i; done")
	outputs, clients := map[string]*bytes.Buffer{}, map[string]*exec.Cmd{}
	for name, script := range clientScripts {
		cmd := w.command("sh", "-e", "-c", script)
		out := &bytes.Buffer{}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		outputs[name], clients[name] = out, cmd
	}
	for range 4 {
		time.Sleep(time.Second) // of their work
		w.Bastion.KillConnections()
	}
	for name, cmd := range clients {
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, run.Clip(outputs[name].String()))
		}
		late.Stop()
	}
}
