//go:build linux

package e2e

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// withAgent returns a command of a client that does not read ssh_config.
func (w *world) withAgent(t *testing.T, argv ...string) *exec.Cmd {
	t.Helper()
	cmd := w.command(argv...)
	cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+w.agent(t))
	return cmd
}

func (w *world) mustWithAgent(t *testing.T, stdin string, argv ...string) string {
	t.Helper()
	r := w.finish(w.withAgent(t, argv...), stdin)
	if r.Code != 0 {
		t.Fatal(r)
	}
	return r.Stdout
}

// TestDropbear checks dbclient. It has a home directory of its own, because dbclient's file of host
// keys has the same path as OpenSSH's.
func TestDropbear(t *testing.T) {
	t.Parallel()
	w := shared
	w.write(t, "/home/dropbear/.ssh/known_hosts", train+" "+w.hostKey(t)+"\n")
	run := func(stdin string, args ...string) result {
		cmd := w.withAgent(t, append([]string{"dbclient", "-J", "keyway proxy train"}, args...)...)
		cmd.Env = append(cmd.Env, "HOME=/home/dropbear", "XDG_STATE_HOME=/root/.local/state")
		return w.finish(cmd, stdin)
	}
	if r := run("fed", "root@"+train, "cat; echo; exit 5"); r.Code != 5 || r.Stdout != "fed\n" {
		t.Error(r)
	}
}

// TestPuTTY checks plink and psftp. They get the fingerprint of the host key, so that they accept
// no other.
func TestPuTTY(t *testing.T) {
	t.Parallel()
	w := shared
	w.write(t, "/root/putty.pub", w.hostKey(t)+"\n")
	fingerprint := strings.Fields(w.must(t, "ssh-keygen", "-lf", "/root/putty.pub"))[1]
	options := []string{"-batch", "-agent", "-hostkey", fingerprint, "-proxycmd", "keyway proxy train"}
	r := w.finish(w.withAgent(t, append(append([]string{"plink"}, options...), "-ssh", "root@"+train, "cat; exit 6")...), "fed")
	if r.Code != 6 || r.Stdout != "fed" {
		t.Error(r)
	}
	w.write(t, "/root/putty.in", "putty")
	w.mustWithAgent(t, "put /root/putty.in /tmp/putty\nget /tmp/putty /root/putty.out\n",
		append(append([]string{"psftp"}, options...), "root@"+train)...)
	if got, err := w.Laptop.ReadFile("/root/putty.out"); got != "putty" {
		t.Errorf("the file came back as %q, %v", got, err)
	}
}

const paramikoClient = `
import base64, io, sys, paramiko
kind, data = sys.argv[1].split()[:2]
client = paramiko.SSHClient()
client.get_host_keys().add("train", kind, paramiko.Ed25519Key(data=base64.b64decode(data)))
client.set_missing_host_key_policy(paramiko.RejectPolicy())
client.connect("train", username="root", sock=paramiko.ProxyCommand("keyway proxy train"), look_for_keys=False)
i, o, e = client.exec_command("cat; echo err >&2; exit 8")
i.write("fed"); i.channel.shutdown_write()
assert o.read() == b"fed", "stdout"
assert e.read() == b"err\n", "stderr"
assert o.channel.recv_exit_status() == 8, "exit status"
sftp = client.open_sftp()
data = bytes(range(256)) * 8192
sftp.putfo(io.BytesIO(data), "/tmp/paramiko")
back = io.BytesIO(); sftp.getfo("/tmp/paramiko", back)
assert back.getvalue() == data, "sftp"
ch = client.get_transport().open_session(); ch.get_pty("vt100", 81, 24); ch.exec_command("stty size")
assert b"24 81" in ch.makefile().read(), "pty"
client.close()
print("good")
`

func TestParamiko(t *testing.T) {
	t.Parallel()
	w := shared
	w.write(t, "/root/paramiko-client.py", paramikoClient)
	equal(t, "paramiko", w.mustWithAgent(t, "", "/usr/bin/python3", "-W", "ignore", "/root/paramiko-client.py", w.hostKey(t)), "good\n")
}

const asyncsshClient = `
import asyncio, sys, asyncssh
key, port = sys.argv[1:]
async def main():
    async with asyncssh.connect("train", username="root", config=None, proxy_command="keyway proxy train",
                                known_hosts=asyncssh.import_known_hosts("train " + key)) as c:
        r = await c.run("cat; echo err >&2; exit 8", input="fed")
        assert (r.stdout, r.stderr, r.exit_status) == ("fed", "err\n", 8), r
        many = await asyncio.gather(*(c.run("echo %d" % i) for i in range(20)))
        assert [r.stdout for r in many] == ["%d\n" % i for i in range(20)], many
        async with c.start_sftp_client() as sftp:
            await sftp.makedirs("/tmp/asyncssh", exist_ok=True)
            async with sftp.open("/tmp/asyncssh/f", "w") as f:
                await f.write("text")
            assert await sftp.getsize("/tmp/asyncssh/f") == 4
        listener = await c.forward_local_port("127.0.0.1", 0, "127.0.0.1", int(port))
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.get_port())
        writer.write(b"forwarded"); writer.write_eof()
        assert await reader.read() == b"forwarded"
        r = await c.run("stty size", term_type="vt100", term_size=(81, 24))
        assert "24 81" in r.stdout, r
asyncio.run(main())
print("good")
`

func TestAsyncSSH(t *testing.T) {
	t.Parallel()
	w := shared
	port := w.startEcho(t)
	w.write(t, "/root/asyncssh-client.py", asyncsshClient)
	equal(t, "asyncssh", w.mustWithAgent(t, "", "/usr/bin/python3", "-W", "ignore", "/root/asyncssh-client.py", w.hostKey(t), strconv.Itoa(port)), "good\n")
}

// TestSSHFS checks a workspace's directory that is mounted on the laptop.
func TestSSHFS(t *testing.T) {
	t.Parallel()
	w := shared
	oddFiles(t, w, "/root/sshfs")
	script := `set -e
ssh train mkdir -p /tmp/sshfs
mkdir -p /srv/mounted
sshfs train:/tmp/sshfs /srv/mounted
trap 'fusermount3 -u /srv/mounted' EXIT
cp -r /root/sshfs /srv/mounted/
mv /srv/mounted/sshfs /srv/mounted/moved
diff -r /root/sshfs /srv/mounted/moved
rm -r /srv/mounted/moved
[ -z "$(ls -A /srv/mounted)" ]
`
	w.mustFeed(t, script, "sh")
}

// The clients below read ~/.ssh/config, or what keyway init --print prints, and
// find everything there: the proxy command, the host key, the agent.

const asyncsshByConfig = `
import asyncio, asyncssh
async def main():
    async with asyncssh.connect("train", config=["/root/.ssh/config"]) as c:
        r = await c.run("cat; echo err >&2; exit 8", input="fed")
        assert (r.stdout, r.stderr, r.exit_status) == ("fed", "err\n", 8), r
        data = bytes(range(256)) * 8192
        r = await c.run("cat", input=data, encoding=None)
        assert r.stdout == data, len(r.stdout)
asyncio.run(main())
print("good")
`

func TestAsyncSSHByConfig(t *testing.T) {
	t.Parallel()
	w := shared
	w.write(t, "/root/asyncssh-config.py", asyncsshByConfig)
	equal(t, "asyncssh", w.must(t, "/usr/bin/python3", "-W", "ignore", "/root/asyncssh-config.py"), "good\n")
}

const paramikoByConfig = `
import os, paramiko
c = paramiko.SSHConfig.from_path("/root/printed").lookup("train")
os.environ["SSH_AUTH_SOCK"] = c["identityagent"].strip('"')
client = paramiko.SSHClient()
client.load_host_keys(c["userknownhostsfile"].strip('"'))
client.set_missing_host_key_policy(paramiko.RejectPolicy())
client.connect(c["hostkeyalias"], username=c["user"], sock=paramiko.ProxyCommand(c["proxycommand"]), look_for_keys=False)
i, o, e = client.exec_command("cat; exit 8")
i.write("fed"); i.channel.shutdown_write()
assert o.read() == b"fed" and o.channel.recv_exit_status() == 8
client.close()
print("good")
`

// TestParamikoByConfig checks Paramiko with the entries of keyway init --print, because Paramiko
// does not follow Include.
func TestParamikoByConfig(t *testing.T) {
	t.Parallel()
	w := shared
	w.write(t, "/root/printed", w.must(t, "keyway", "init", "--print"))
	w.write(t, "/root/paramiko-config.py", paramikoByConfig)
	equal(t, "paramiko", w.must(t, "/usr/bin/python3", "-W", "ignore", "/root/paramiko-config.py"), "good\n")
}

// TestProxyCommandFromTheCommandLine checks other proxy commands than the entry's, some of which
// are other programs, and an ssh that waits for a descriptor, as with entries of earlier versions.
func TestProxyCommandFromTheCommandLine(t *testing.T) {
	t.Parallel()
	w := shared
	for _, options := range [][]string{
		{},
		{"-o", "ProxyCommand=keyway proxy train"},
		{"-o", "ProxyCommand=keyway proxy --fdpass train"},
		{"-o", "ProxyCommand=sh -c 'keyway proxy train; exit'"},
		{"-o", "ProxyCommand=cat | keyway proxy --fdpass train | cat"},
		{"-o", "ProxyUseFdpass=yes"},
		{"-o", "ProxyUseFdpass=yes", "-o", "ProxyCommand=keyway proxy train"},
		{"-o", "ProxyUseFdpass=yes", "-o", "ProxyCommand=sh -c 'keyway proxy train; exit'"},
	} {
		r := w.finish(w.command(append(append([]string{"ssh"}, options...), train, "cat; exit 7")...), "fed")
		if r.Code != 7 || r.Stdout != "fed" {
			t.Error(r)
		}
	}
}

// TestNoProcessCopiesForSSH checks that the proxy command ends once ssh is connected. Only its
// entry in the process table stays, because ssh does not wait for it.
func TestNoProcessCopiesForSSH(t *testing.T) {
	t.Parallel()
	script := `set -e
dir=$(mktemp -d); mkfifo $dir/in; exec 3<>$dir/in
ssh train 'echo in; read line; echo $line' <&3 >$dir/out &
until grep -q in $dir/out; do sleep 0.1; done
tries=0
while ps -o stat=,args= --ppid $! | grep -v '^Z'; do
  tries=$((tries + 1)); [ $tries -lt 600 ] || exit 9
  sleep 0.1
done
echo out >&3; wait; cat $dir/out
`
	out := shared.mustFeed(t, script, "sh")
	if !strings.HasSuffix(out, "in\nout\n") {
		t.Errorf("%q", out)
	}
}
