//go:build linux

package e2e

import (
	"bytes"
	"os/exec"
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

// clientScripts are what people do with clients that have their own ideas of ssh: those
// with a server part have it from the machine itself, in the workspace side.
var clientScripts = map[string]string{
	"libssh by config": `gcc -o libssh-client libssh-client.c -lssh
for i in 1 2 3; do ./libssh-client train 'sleep 1; echo in; exit 7' >libssh.out && exit 1; [ $? = 7 ]; [ "$(cat libssh.out)" = in ]; done`,
	"Fabric by config": `keyway init --print >printed
SSH_AUTH_SOCK=$(ssh -G train | sed -n 's/^identityagent //p') /usr/bin/python3 -W ignore fabric-client.py`,
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

// TestClientsThroughCuts has other clients at work while the bastion dies again and again.
func TestClientsThroughCuts(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Base}})
	if err := w.unlockAndUp(); err != nil {
		t.Fatal(err)
	}
	w.must(t, "keyway", "up", "--on", "gpu1", "--engine", "host", "--name", "side")
	w.write(t, "/root/libssh-client.c", libsshClient)
	w.write(t, "/root/fabric-client.py", fabricClient)
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
