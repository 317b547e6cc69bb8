//go:build linux

package guest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"keyway/internal/unixsock"
	"keyway/test/await"
)

func TestExecTellsHowTheCommandEnded(t *testing.T) {
	w := startWorkspace(t)
	for _, c := range []struct {
		command, stdout, stderr string
		code                    int
	}{
		{"true", "", "", 0},
		{"echo out; echo err >&2; exit 7", "out\n", "err\n", 7},
		{"no-such-program", "", "not found", 127},
		{"/etc/passwd", "", "ermission denied", 126},
		{"echo $IMAGE_SAYS", "from the image\n", "", 0},
		{"echo $SSH_AUTH_SOCK", w.home.AgentSocket() + "\n", "", 0},
		{"echo $HOME $USER; pwd", w.info.Home + " " + w.info.User + "\n" + w.dir + "\n", "", 0},
		{"command -v keyway", w.home.Bin() + "/keyway\n", "", 0},
		{"test -t 0 || echo none", "none\n", "", 0},
	} {
		r := w.run(w.ssh("ws", c.command))
		if r.stdout != c.stdout || !strings.Contains(r.stderr, c.stderr) || r.code != c.code {
			t.Errorf("%s: got %+v", c.command, r)
		}
	}
}

func TestExecTellsWhichSignalEndedTheCommand(t *testing.T) {
	w := startWorkspace(t)
	r := w.run(w.ssh("-v", "ws", "kill -USR1 $$"))
	if r.code != 255 || !strings.Contains(r.stderr, "exit-signal") {
		t.Fatalf("got %+v", r)
	}
}

func TestBashFromStandardInput(t *testing.T) {
	w := startWorkspace(t)
	var script strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&script, "x=%d # the script is long enough to come in many packets\n", i)
	}
	script.WriteString("echo last $x\n")
	cmd := w.ssh("-T", "ws", "bash")
	cmd.Stdin = strings.NewReader(script.String())
	if out := w.output(cmd); out != "last 9999\n" {
		t.Fatalf("got %q", out)
	}
}

func TestHalfClose(t *testing.T) {
	w := startWorkspace(t)
	cmd := w.ssh("ws", "cat; echo the input has ended")
	cmd.Stdin = strings.NewReader("input\n")
	if out := w.output(cmd); out != "input\nthe input has ended\n" {
		t.Fatalf("got %q", out)
	}
}

func TestBigDataBothWays(t *testing.T) {
	w := startWorkspace(t)
	sent, back := filepath.Join(w.dir, "sent"), filepath.Join(w.dir, "back")
	randomFile(t, sent, 64<<20)
	in, err := os.Open(sent)
	must(t, err)
	defer in.Close()
	out, err := os.Create(back)
	must(t, err)
	defer out.Close()
	cmd := w.ssh("ws", "cat")
	cmd.Stdin, cmd.Stdout = in, out
	must(t, cmd.Run())
	sameFiles(t, sent, back)
}

func TestOutputIsCompleteBeforeTheExitStatus(t *testing.T) {
	w := startWorkspace(t)
	for range 20 {
		if out := w.output(w.ssh("ws", "head -c 300000 /dev/zero")); len(out) != 300000 {
			t.Fatalf("%d bytes have come", len(out))
		}
	}
}

func TestReaderThatLeavesEndsTheCommand(t *testing.T) {
	w := startWorkspace(t)
	cmd := w.command("bash", "-c", "ssh -F "+w.config+" ws yes | head -1")
	if out := w.output(cmd); out != "y\n" {
		t.Fatalf("got %q", out)
	}
}

// TestBackgroundProcessDoesNotWithholdTheExitStatus checks that the exit status is known before a
// background process closes its pipes, as with sshd.
func TestBackgroundProcessDoesNotWithholdTheExitStatus(t *testing.T) {
	w := startWorkspace(t)
	fifo := filepath.Join(w.dir, "fifo")
	cmd := w.ssh("-v", "ws", "(read line < "+fifo+"; echo $line) & exit 5")
	must(t, syscall.Mkfifo(fifo, 0o600))
	stderr, err := cmd.StderrPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(stderr)
	for lines.Scan() && !strings.Contains(lines.Text(), "rtype exit-status") {
	}
	release, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	must(t, err)
	_, err = release.WriteString("late\n")
	must(t, err)
	must(t, release.Close())
	out, err := io.ReadAll(stdout)
	must(t, err)
	_, _ = io.Copy(io.Discard, stderr)
	_ = cmd.Wait()
	if string(out) != "late\n" || cmd.ProcessState.ExitCode() != 5 {
		t.Fatalf("got %q, exit %d", out, cmd.ProcessState.ExitCode())
	}
}

func TestDetachedProcessOutlivesTheConnection(t *testing.T) {
	w := startWorkspace(t)
	pid := strings.TrimSpace(w.output(w.ssh("ws", "setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo $!")))
	n, err := strconv.Atoi(pid)
	must(t, err)
	must(t, syscall.Kill(n, 0))
	w.stop()
	await.That(t, "the workspace's end ended it", func() bool { return syscall.Kill(n, 0) == syscall.ESRCH })
}

func TestTerminal(t *testing.T) {
	w := startWorkspace(t)
	cmd := w.ssh("-tt", "ws", "tty; echo $TERM; stty -a | grep -o 'erase = [^;]*'; exit 3")
	cmd.Env = append(os.Environ(), "TERM=vt220")
	r := w.run(cmd)
	if !strings.Contains(r.stdout, "/dev/pts/") || !strings.Contains(r.stdout, "vt220\r\n") || r.code != 3 {
		t.Fatalf("got %+v", r)
	}
}

// terminalClient runs a client on a terminal of its own. A client requests a terminal, and sends
// its size, only if its standard input is one.
func (w *workspace) terminalClient(size windowChange, args ...string) (*terminal, *exec.Cmd) {
	w.t.Helper()
	term, slave, err := openTerminal()
	must(w.t, err)
	w.t.Cleanup(func() { term.master.Close() })
	must(w.t, term.resize(size))
	cmd := w.ssh(args...)
	cmd.Env = append(cmd.Environ(), "TERM=xterm-256color") // independent of the terminal of these tests
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	must(w.t, cmd.Start())
	slave.Close()
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return term, cmd
}

// expect reads until text has come.
func expect(t *testing.T, r *os.File, text string) {
	t.Helper()
	must(t, r.SetReadDeadline(time.Now().Add(patience)))
	var seen []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(seen, []byte(text)) {
		n, err := r.Read(buf)
		seen = append(seen, buf[:n]...)
		if err != nil {
			t.Fatalf("%q has not come (%v) but %q", text, err, seen)
		}
	}
}

func TestWindowChange(t *testing.T) {
	w := startWorkspace(t)
	term, _ := w.terminalClient(windowChange{Columns: 91, Rows: 31}, "-t", "ws",
		"trap 'stty size' WINCH; stty size; echo ready; while :; do read -t 1 line || true; done")
	expect(t, term.master, "31 91\r\nready")
	must(t, term.resize(windowChange{Columns: 77, Rows: 22}))
	expect(t, term.master, "22 77")
}

func TestInteractiveShell(t *testing.T) {
	w := startWorkspace(t)
	term, cmd := w.terminalClient(windowChange{Columns: 80, Rows: 24}, "ws")
	_, err := term.master.WriteString("echo shell is $0 in $((6*7))\n")
	must(t, err)
	expect(t, term.master, "in 42")
	_, err = term.master.WriteString("sh -c 'echo be''gun; exec sleep 1000'\n")
	must(t, err)
	expect(t, term.master, "begun")
	_, err = term.master.WriteString("\x03") // interrupts sleep, not the shell
	must(t, err)
	_, err = term.master.WriteString("exit 4\n")
	must(t, err)
	_ = cmd.Wait()
	if cmd.ProcessState.ExitCode() != 4 {
		t.Fatalf("exit %d", cmd.ProcessState.ExitCode())
	}
}

func TestLostConnectionHangsUpTheTerminal(t *testing.T) {
	w := startWorkspace(t)
	mark := filepath.Join(w.dir, "hung-up")
	term, cmd := w.terminalClient(windowChange{Columns: 80, Rows: 24}, "-t", "ws",
		"trap 'echo hup > "+mark+"; exit' HUP; echo ready; while :; do read -t 1 line || true; done")
	expect(t, term.master, "ready")
	must(t, cmd.Process.Kill())
	await.That(t, "the shell heard SIGHUP", func() bool { _, err := os.Stat(mark); return err == nil })
}

func TestEnvironmentFromTheClient(t *testing.T) {
	w := startWorkspace(t)
	got := w.output(w.ssh("-o", "SetEnv=LC_TEST=a\\ b LD_PRELOAD=/no/such.so PATH=/none", "ws", "echo $LC_TEST $LD_PRELOAD; true"))
	if !strings.HasPrefix(got, "a") || strings.Contains(got, "no/such") {
		t.Fatalf("got %q", got)
	}
}

func TestSFTP(t *testing.T) {
	w := startWorkspace(t)
	local := filepath.Join(w.dir, "local")
	randomFile(t, local, 10<<20)
	must(t, os.Chmod(local, 0o640))
	batch := w.command("sftp", "-F", w.config, "-b", "-", "-p", "ws")
	batch.Stdin = strings.NewReader(strings.Join([]string{
		"mkdir d", "put -p local d/up", "rename d/up d/renamed", "ln -s renamed d/link", "get d/link back",
		"chmod 600 d/renamed", "ls -l d", "pwd", "",
	}, "\n"))
	out := w.output(batch)
	if !strings.Contains(out, w.dir) {
		t.Errorf("it did not begin in %s:\n%s", w.dir, out)
	}
	sameFiles(t, local, filepath.Join(w.dir, "back"))
	info, err := os.Stat(filepath.Join(w.dir, "d/renamed"))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

// TestSCP checks both protocols of scp, with the scp that the image has.
func TestSCP(t *testing.T) {
	w := startWorkspace(t)
	tree := filepath.Join(w.dir, "tree")
	must(t, os.MkdirAll(filepath.Join(tree, "a/b"), 0o755))
	randomFile(t, filepath.Join(tree, "a/b/file with blanks"), 3<<20)
	randomFile(t, filepath.Join(tree, "empty"), 0)
	for _, protocol := range []string{"-s", "-O"} {
		up, down := filepath.Join(w.dir, "up"+protocol), filepath.Join(w.dir, "down"+protocol)
		w.output(w.command("scp", "-F", w.config, protocol, "-r", "-p", tree, "ws:"+up))
		w.output(w.command("scp", "-F", w.config, protocol, "-r", "-p", "ws:"+up, down))
		w.output(w.command("diff", "-r", tree, down))
	}
}

// echoServer reads each connection to its end, and sends the bytes back.
func echoServer(t *testing.T, l net.Listener) {
	t.Helper()
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				data, _ := io.ReadAll(conn)
				_, _ = conn.Write(append([]byte("echo "), data...))
			}()
		}
	}()
}

// ask sends text, ends its sending side and returns the answer.
func ask(t *testing.T, conn halfCloser, text string) string {
	t.Helper()
	defer conn.Close()
	_, err := io.WriteString(conn, text)
	must(t, err)
	must(t, conn.CloseWrite())
	answer, err := io.ReadAll(conn)
	must(t, err)
	return string(answer)
}

func listenTCP(t *testing.T) (net.Listener, int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	return l, l.Addr().(*net.TCPAddr).Port
}

// freePort returns a free port that the system assigns to no socket by itself, so that it stays
// free until it is used.
func freePort(t *testing.T) int {
	t.Helper()
	for {
		port := 10_000 + rand.IntN(20_000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			must(t, l.Close())
			return port
		}
	}
}

// forwarding runs ssh with a forwarding until the test ends; it returns once the
// remote command runs, after which all forwardings are in place.
func (w *workspace) forwarding(args ...string) {
	w.t.Helper()
	cmd := w.ssh(append(append([]string{"-o", "ExitOnForwardFailure=yes"}, args...), "ws", "echo ready; cat")...)
	in, err := cmd.StdinPipe()
	must(w.t, err)
	out, err := cmd.StdoutPipe()
	must(w.t, err)
	cmd.Stderr = w.news
	must(w.t, cmd.Start())
	w.t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		w.t.Fatalf("%q %v\n%s", line, err, w.news)
	}
}

func dialLocal(t *testing.T, port int) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	must(t, err)
	return conn.(*net.TCPConn)
}

func dialUnix(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := unixsock.Dial(path)
	must(t, err)
	return conn
}

func TestLocalForwarding(t *testing.T) {
	w := startWorkspace(t)
	l, target := listenTCP(t)
	echoServer(t, l)
	port := freePort(t)
	w.forwarding("-L", fmt.Sprintf("%d:localhost:%d", port, target))
	if got := ask(t, dialLocal(t, port), "hello"); got != "echo hello" {
		t.Fatalf("got %q", got)
	}
}

func TestRemoteForwarding(t *testing.T) {
	w := startWorkspace(t)
	l, target := listenTCP(t)
	echoServer(t, l)
	port := freePort(t)
	w.forwarding("-R", fmt.Sprintf("%d:localhost:%d", port, target))
	if got := ask(t, dialLocal(t, port), "hello"); got != "echo hello" {
		t.Fatalf("got %q", got)
	}
}

func TestRemoteForwardingChoosesAPort(t *testing.T) {
	w := startWorkspace(t)
	l, target := listenTCP(t)
	echoServer(t, l)
	w.forwarding("-R", fmt.Sprintf("0:localhost:%d", target))
	var port int
	await.That(t, "ssh names the port", func() bool {
		for line := range strings.Lines(w.news.String()) {
			_, _ = fmt.Sscanf(line, "Allocated port %d", &port)
		}
		return port != 0
	}, w.news.String)
	if got := ask(t, dialLocal(t, port), "hello"); got != "echo hello" {
		t.Fatalf("got %q", got)
	}
}

func TestUnixForwardingBothWays(t *testing.T) {
	w := startWorkspace(t)
	far, near := filepath.Join(w.dir, "far.sock"), filepath.Join(w.dir, "near.sock")
	farTarget, nearTarget := filepath.Join(w.dir, "ft.sock"), filepath.Join(w.dir, "nt.sock")
	for _, path := range []string{farTarget, nearTarget} {
		l, err := unixsock.Listen(path, 0o600)
		must(t, err)
		echoServer(t, l)
	}
	t.Run("forward", func(t *testing.T) {
		w := *w
		w.t = t
		w.forwarding("-L", near+":"+farTarget, "-R", far+":"+nearTarget)
		for _, path := range []string{near, far} {
			if got := ask(t, dialUnix(t, path), "hello"); got != "echo hello" {
				t.Fatalf("%s: got %q", path, got)
			}
		}
	})
	await.That(t, "the remote socket is removed", func() bool { _, err := os.Lstat(far); return os.IsNotExist(err) })
}

func TestUnixForwardingLeavesFilesAlone(t *testing.T) {
	w := startWorkspace(t)
	file := filepath.Join(w.dir, "precious")
	must(t, os.WriteFile(file, []byte("data"), 0o600))
	r := w.run(w.ssh("-o", "ExitOnForwardFailure=yes", "-R", file+":/nowhere.sock", "ws", "true"))
	if data, err := os.ReadFile(file); r.code == 0 || string(data) != "data" {
		t.Fatalf("got %+v, %q, %v", r, data, err)
	}
}

func TestStdioForwarding(t *testing.T) {
	w := startWorkspace(t)
	l, target := listenTCP(t)
	echoServer(t, l)
	cmd := w.ssh("-W", fmt.Sprintf("127.0.0.1:%d", target), "ws")
	cmd.Stdin = strings.NewReader("hello")
	if got := w.output(cmd); got != "echo hello" {
		t.Fatalf("got %q", got)
	}
	r := w.run(w.ssh("-W", fmt.Sprintf("127.0.0.1:%d", freePort(t)), "ws"))
	if r.code == 0 || !strings.Contains(r.stderr, "connection refused") {
		t.Fatalf("a closed port: got %+v", r)
	}
}

func TestDynamicForwarding(t *testing.T) {
	w := startWorkspace(t)
	l, target := listenTCP(t)
	server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "hello") })}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	port := freePort(t)
	w.forwarding("-D", strconv.Itoa(port))
	out := w.output(w.command("curl", "-sS", "--socks5-hostname", fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("http://localhost:%d/", target)))
	if out != "hello" {
		t.Fatalf("got %q", out)
	}
}

func TestManyChannelsOfOneClient(t *testing.T) {
	w := startWorkspace(t)
	l, target := listenTCP(t)
	echoServer(t, l)
	port := freePort(t)
	w.forwarding("-L", fmt.Sprintf("%d:127.0.0.1:%d", port, target))
	conns := make([]*net.TCPConn, 200)
	for i := range conns {
		conns[i] = dialLocal(t, port)
	}
	for i, conn := range conns {
		text := "number " + strconv.Itoa(i)
		if got := ask(t, conn, text); got != "echo "+text {
			t.Fatalf("%d: got %q", i, got)
		}
	}
}

func TestOtherClients(t *testing.T) {
	w := startWorkspace(t)
	key := filepath.Join(w.dir, "other")
	public := writeKey(t, key)
	appendKey(t, w.home, public)
	t.Run("dbclient", func(t *testing.T) {
		w := *w
		w.t = t
		converted := filepath.Join(w.dir, "other.dropbear")
		w.output(w.command("dropbearconvert", "openssh", "dropbear", key, converted))
		out := w.output(w.command("dbclient", "-y", "-y", "-i", converted, "-J", guestProgram+" dial --home "+string(w.home),
			w.info.User+"@ws", "echo hello"))
		if out != "hello\n" {
			t.Fatalf("got %q", out)
		}
	})
	t.Run("plink", func(t *testing.T) {
		w := *w
		w.t = t
		converted := filepath.Join(w.dir, "other.ppk")
		w.output(w.command("puttygen", key, "-o", converted))
		fields := strings.Fields(w.output(w.command("ssh-keygen", "-l", "-f", hostKeyFile(t, w.hostKey()))))
		out := w.output(w.command("plink", "-batch", "-ssh", "-hostkey", fields[1], "-i", converted,
			"-proxycmd", guestProgram+" dial --home "+string(w.home), w.info.User+"@ws", "echo hello"))
		if strings.TrimSpace(out) != "hello" {
			t.Fatalf("got %q", out)
		}
	})
	t.Run("paramiko", func(t *testing.T) {
		w := *w
		w.t = t
		script := `
import sys, paramiko
key, home, program, user = sys.argv[1:]
c = paramiko.SSHClient()
c.set_missing_host_key_policy(paramiko.AutoAddPolicy())
c.connect("ws", username=user, pkey=paramiko.Ed25519Key.from_private_key_file(key), look_for_keys=False, allow_agent=False,
          sock=paramiko.ProxyCommand(program + " dial --home " + home))
i, o, e = c.exec_command("cat; exit 9")
i.write("hello"); i.channel.shutdown_write()
print(o.read().decode(), o.channel.recv_exit_status())
s = c.open_sftp()
with s.open("from-paramiko", "w") as f: f.write("data")
print(s.stat("from-paramiko").st_size)
c.close()
`
		out := w.output(w.command("/usr/bin/python3", "-W", "ignore", "-c", script, key, string(w.home), guestProgram, w.info.User))
		if out != "hello 9\n4\n" {
			t.Fatalf("got %q", out)
		}
	})
}

func hostKeyFile(t *testing.T, key string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "host.pub")
	must(t, os.WriteFile(path, []byte(key+"\n"), 0o600))
	return path
}
