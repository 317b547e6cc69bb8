//go:build linux

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"keyway/test/lab"
	"keyway/test/lab/run"
)

// The steps of VS Code Remote-SSH, with a stand-in for its server: the system's ssh with -T, -D
// and bash; a long script on standard input, which stays open; an archive by scp; a server that
// detaches; many connections through SOCKS; a link to the agent's socket; windows that come and
// go.

// ideServer echoes on a port that the system chooses and on a unix socket, and answers "agent" with
// the output of ssh-add, as a terminal in an editor would.
const ideServer = `
import os, socket, subprocess, sys, threading
tcp = socket.socket(); tcp.bind(("127.0.0.1", 0)); tcp.listen(300)
unix = socket.socket(socket.AF_UNIX); unix.bind(sys.argv[1]); unix.listen(300)
print("listening on", tcp.getsockname()[1], "pid", os.getpid(), flush=True)
def serve(c):
    first = c.recv(65536)
    if first == b"agent":
        c.sendall(subprocess.run(["ssh-add", "-l"], capture_output=True).stdout)
    else:
        while first:
            c.sendall(first)
            first = c.recv(65536)
    c.close()
def accept(s):
    while True:
        c, _ = s.accept()
        threading.Thread(target=serve, args=(c,), daemon=True).start()
threading.Thread(target=accept, args=(unix,), daemon=True).start()
accept(tcp)
`

// ideScript returns the script that the editor sends, padded to 150 KB as real ones are. It starts
// the server if it does not run, and prints its address.
func ideScript(id string) string {
	padding := strings.Repeat("# "+strings.Repeat("padding ", 12)+"\n", 1500)
	return padding + `
echo "` + id + `: running"
mkdir -p ~/.vscode-server && cd ~/.vscode-server
mkdir -p /tmp/ide-agent
ln -f -s "$SSH_AUTH_SOCK" /tmp/ide-agent/vscode-ssh-auth-sock-1
while ! ln -s $$ lock 2>/dev/null; do sleep 0.1; done
if [ ! -f pid ] || ! kill -0 "$(cat pid)" 2>/dev/null; then
  tar -xzf server.tar.gz
  rm -f server.sock
  SSH_AUTH_SOCK=/tmp/ide-agent/vscode-ssh-auth-sock-1 setsid python3 server.py ~/.vscode-server/server.sock >log 2>&1 </dev/null &
  until grep -q listening log; do sleep 0.05; done
  sed 's/.* pid //' log >pid
fi
rm lock
echo "` + id + `: printenv: $SSH_AUTH_SOCK"
echo "listeningOn==127.0.0.1:$(sed 's/listening on \([0-9]*\).*/\1/' log)=="
echo "serverPid==$(cat pid)=="
` + padding + `
echo "` + id + `: end"
`
}

// window is an editor's window: its ssh, and where the server listens.
type window struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	port  int
	pid   string
}

// openWindow plays steps 2 to 4 on workspace name.
func (w *world) openWindow(t *testing.T, name, id string, socksPort int) *window {
	t.Helper()
	cmd := w.command("ssh", "-v", "-T", "-D", strconv.Itoa(socksPort), "-o", "ConnectTimeout=15", name, "bash")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	win := &window{cmd: cmd, stdin: stdin}
	t.Cleanup(win.close)
	// In pieces, as a pipe on a slow machine delivers it.
	go func() {
		for rest := ideScript(id); rest != ""; {
			n := min(len(rest), 4096)
			if _, err := io.WriteString(stdin, rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
	}()
	var said strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(said.String(), id+": end") {
		n, err := stdout.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			t.Fatalf("window %s: %v after %q", id, err, said.String())
		}
	}
	go io.Copy(io.Discard, stdout)
	if !strings.HasPrefix(said.String(), id+": running\n") {
		t.Errorf("noise before the script's first line: %q", run.Clip(said.String()))
	}
	win.read(t, said.String())
	return win
}

func (win *window) read(t *testing.T, said string) {
	t.Helper()
	m := regexp.MustCompile(`listeningOn==127\.0\.0\.1:(\d+)==\nserverPid==(\d+)==`).FindStringSubmatch(said)
	if m == nil {
		t.Fatalf("the script does not say where the server listens: %q", run.Clip(said))
	}
	win.port, _ = strconv.Atoi(m[1])
	win.pid = m[2]
}

func (win *window) close() {
	_ = win.stdin.Close()
	_ = win.cmd.Process.Kill()
	_ = win.cmd.Wait()
}

// ask sends one word through the window's SOCKS port and returns the answer.
func (w *world) ask(t *testing.T, win *window, socksPort int, word string) string {
	t.Helper()
	conn := socks(t, w, fmt.Sprintf("127.0.0.1:%d", socksPort), "127.0.0.1", win.port)
	defer conn.Close()
	if _, err := io.WriteString(conn, word); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestVSCode(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Base}})
	w.must(t, "keyway", "init", "--yes")
	w.must(t, "keyway", "unlock")
	w.must(t, "keyway", "up", "--on", "gpu1", "--image", string(lab.Base), "--name", "code", "--forward-agent")

	// The picker lists Host names that are written out.
	config, err := w.Laptop.ReadFile("/root/.local/state/keyway/ssh_config")
	if err != nil || !strings.Contains(config, "\nHost code\n") {
		t.Errorf("the workspace is not written out for the picker: %v\n%s", err, config)
	}
	// The archive comes by scp.
	w.write(t, "/root/server.py", ideServer)
	w.must(t, "sh", "-c", "tar -czf server.tar.gz server.py && ssh code mkdir -p .vscode-server && scp -q server.tar.gz code:.vscode-server/")

	first := w.openWindow(t, "code", "ide1", 7701)
	w.manyConnections(t, first, 7701)
	w.unixTunnel(t)
	holds(t, "the agent in an editor's terminal", w.ask(t, first, 7701, "agent"), "ED25519")

	// A second window, while the first is open, and at once with a third.
	var windows [2]*window
	var both sync.WaitGroup
	for i := range windows {
		both.Go(func() { windows[i] = w.openWindow(t, "code", fmt.Sprintf("ide%d", i+2), 7702+i) })
	}
	both.Wait()
	for i, win := range windows {
		if win == nil || win.pid != first.pid {
			t.Fatalf("window %d has another server: %+v, want pid %s", i+2, win, first.pid)
		}
		// A reload is a close and a new ssh at once.
		win.close()
	}
	reloaded := w.openWindow(t, "code", "ide4", 7702)
	equal(t, "the server after a reload", reloaded.pid, first.pid)

	// The bastion dies under all windows, and none notices: existing connections continue, and the
	// windows' ssh accepts new connections.
	var stay [5]net.Conn
	for i := range stay {
		stay[i] = socks(t, w, "127.0.0.1:7701", "127.0.0.1", first.port)
		if _, err := io.WriteString(stay[i], "before"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(stay[i], make([]byte, len("before"))); err != nil {
			t.Fatal(err)
		}
	}
	w.Bastion.KillSSHD()
	if err := w.Bastion.StartSSHD(); err != nil {
		t.Fatal(err)
	}
	for i, conn := range stay {
		if err := echoes(conn, 1<<20); err != nil {
			t.Errorf("connection %d after the bastion's death: %v", i, err)
		}
	}
	w.manyConnections(t, first, 7701)
	w.manyConnections(t, reloaded, 7702)
	// The server has run since before the cut, with the socket of that connection.
	holds(t, "the agent after the bastion's death", w.ask(t, first, 7701, "agent"), "ED25519")
}

// manyConnections moves 10 MB each through 20 connections at the same time.
func (w *world) manyConnections(t *testing.T, win *window, socksPort int) {
	t.Helper()
	var all sync.WaitGroup
	for range 20 {
		conn := socks(t, w, fmt.Sprintf("127.0.0.1:%d", socksPort), "127.0.0.1", win.port)
		all.Go(func() {
			if err := echoes(conn, 10_000_000); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// unixTunnel is remote.SSH.remoteServerListenOnSocket.
func (w *world) unixTunnel(t *testing.T) {
	t.Helper()
	cmd := w.command("ssh", "-o", "ExitOnForwardFailure=yes", "-L", "/tmp/ide.sock:/root/.vscode-server/server.sock", "code", "echo tunnel is up; exec sleep 1000")
	w.background(t, "tunnel is up", cmd)
	conn, err := net.Dial("unix", w.Laptop.Path("/tmp/ide.sock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := echoes(conn, 1<<20); err != nil {
		t.Error(err)
	}
}

// TestVSCodeWithoutForwarding checks the newer form: no forwarding, sh, and the script piped in to
// its end.
func TestVSCodeWithoutForwarding(t *testing.T) {
	t.Parallel()
	w := shared
	script := strings.Repeat("# padding padding padding\n", 6000) + "echo end $(printenv SHELL)\n"
	for _, shell := range []string{"bash", "sh"} {
		equal(t, shell, w.mustFeed(t, script, "ssh", "-T", "-o", "ClearAllForwardings=true", train, shell), "end /bin/bash\n")
	}
}

// TestZed checks what Zed does over one shared connection: uname, an upload, and a server that uses
// standard input and output.
func TestZed(t *testing.T) {
	t.Parallel()
	w := shared
	master := w.command("ssh", "-N", "-o", "ControlMaster=yes", "-o", "ControlPath=/tmp/zed.sock", train)
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.must(t, "ssh", "-O", "exit", "-o", "ControlPath=/tmp/zed.sock", train)
		_ = master.Wait()
	})
	over := []string{"-o", "ControlMaster=no", "-o", "ControlPath=/tmp/zed.sock"}
	// No event reports that the master is up: ssh -O check asks.
	for deadline := time.Now().Add(patience); w.do("ssh", "-O", "check", "-o", "ControlPath=/tmp/zed.sock", train).Code != 0; {
		if time.Now().After(deadline) {
			t.Fatal("the shared connection does not come up")
		}
	}
	ssh := func(args ...string) []string { return append(append([]string{"ssh"}, over...), args...) }
	holds(t, "uname", w.must(t, ssh(train, "uname", "-sm")...), "Linux")
	w.write(t, "/root/zed-server", "#!/bin/sh\n[ \"$1\" = proxy ] && exec cat\n")
	w.mustFeed(t, "put /root/zed-server /root/.zed_server\nchmod 755 /root/.zed_server\n", append(append([]string{"sftp", "-q", "-b", "-"}, over...), train)...)
	w.must(t, append(append([]string{"scp", "-q"}, over...), "/root/zed-server", train+":/tmp/zed-again")...)
	text := strings.Repeat("message over stdio\n", 100_000)
	equal(t, "over stdio", w.mustFeed(t, text, ssh(train, "/root/.zed_server", "proxy")...), text)
}

// TestJetBrains checks what JetBrains' editors do: ten connections at once, each with exec, sftp
// and a forwarded port.
func TestJetBrains(t *testing.T) {
	t.Parallel()
	w := shared
	remote := w.startEcho(t)
	w.write(t, "/root/jetbrains", "backend")
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			port := 7810 + i
			r := w.do("ssh", train, "/bin/sh", "-c", "'uname -sm; df -k ~ | tail -n 1'")
			if r.Code != 0 || !strings.HasPrefix(r.Stdout, "Linux ") {
				t.Error(r)
			}
			r = w.finish(w.command("sftp", "-q", "-b", "-", train), fmt.Sprintf("put /root/jetbrains /tmp/jetbrains%d\n", i))
			if r.Code != 0 {
				t.Error(r)
			}
			tunnel := w.command("ssh", "-N", "-o", "ExitOnForwardFailure=yes", "-L", fmt.Sprintf("127.0.0.1:%d:127.0.0.1:%d", port, remote), train)
			if err := tunnel.Start(); err != nil {
				t.Error(err)
				return
			}
			defer func() {
				_ = tunnel.Process.Kill()
				_ = tunnel.Wait()
			}()
			conn, err := w.dialUntil(fmt.Sprintf("127.0.0.1:%d", port))
			if err == nil {
				err = echoes(conn, 1<<20)
			}
			if err != nil {
				t.Errorf("forwarded port %d: %v", port, err)
			}
		})
	}
	all.Wait()
}

// dialUntil connects as soon as ssh listens. ssh -N does not report that.
func (w *world) dialUntil(address string) (net.Conn, error) {
	deadline := time.Now().Add(patience)
	for {
		conn, err := w.Laptop.Dial(context.Background(), address)
		if err == nil || time.Now().After(deadline) {
			return conn, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}
