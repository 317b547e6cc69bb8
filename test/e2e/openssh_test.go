//go:build linux

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"keyway/test/lab/run"
)

func TestSSHExec(t *testing.T) {
	t.Parallel()
	w := shared
	equal(t, "stdout", w.must(t, "ssh", train, "echo out; echo err >&2"), "out\n")
	equal(t, "stderr", w.do("ssh", train, "echo err >&2").Stderr, "err\n")
	equal(t, "standard input to its end", w.mustFeed(t, "fed", "ssh", train, "cat; echo; echo end"), "fed\nend\n")
	for _, code := range []int{0, 1, 7, 255} {
		if r := w.do("ssh", train, fmt.Sprintf("exit %d", code)); r.Code != code {
			t.Errorf("want exit code %d: %s", code, r)
		}
	}
	if r := w.do("ssh", train, "kill -TERM $$"); r.Code != 255 {
		t.Errorf("killed by a signal, ssh exits with 255: %s", r)
	}
}

func TestSSHEnvironment(t *testing.T) {
	t.Parallel()
	w := shared
	env := w.must(t, "ssh", train, "env")
	for _, want := range []string{"LAB_IMAGE=base", "LD_LIBRARY_PATH=/opt/tool/lib", "HOME=/root", "USER=root"} {
		holds(t, "environment", env, want+"\n")
	}
	equal(t, "a program on the image's PATH", w.must(t, "ssh", train, "greet"), "hello from the image\n")
	equal(t, "keyway is on the PATH", strings.TrimSpace(w.must(t, "ssh", train, "command -v keyway >/dev/null && echo yes")), "yes")
}

func TestSSHHostKeyIsStrict(t *testing.T) {
	t.Parallel()
	equal(t, "StrictHostKeyChecking", sshOption(t, shared, train, "stricthostkeychecking"), "true")
	log := shared.do("ssh", "-v", train, "true").Stderr
	for _, want := range []string{"is known and matches the ED25519 host key", "cipher: aes128-gcm@openssh.com"} {
		if !strings.Contains(log, want) {
			t.Errorf("ssh -v does not say %q:\n%s", want, log)
		}
	}
}

func TestSSHTerminal(t *testing.T) {
	t.Parallel()
	cmd := shared.command("ssh", "-tt", train)
	term, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 31, Cols: 97})
	if err != nil {
		t.Fatal(err)
	}
	defer term.Close()
	screen := watch(term)
	screen.write(t, term, "stty size; tty | cut -c1-9; echo TERM=$TERM\r")
	screen.await(t, "31 97")
	screen.await(t, "/dev/pts/")
	screen.await(t, "TERM=xterm-256color")
	if err := pty.Setsize(term, &pty.Winsize{Rows: 40, Cols: 120}); err != nil {
		t.Fatal(err)
	}
	// The change is on its way while the command is: bash waits for it.
	screen.write(t, term, "until [ \"$(stty size)\" = '40 120' ]; do :; done; echo re''sized\r")
	screen.await(t, "resized")
	// It reports that it runs: before that, Ctrl-C would reach the shell.
	screen.write(t, term, "sh -c 'echo be\"\"gun; exec sleep 1000'\r")
	screen.await(t, "begun")
	screen.write(t, term, "\x03echo inter''rupted $?\r")
	screen.await(t, "interrupted 130")
	screen.write(t, term, "exit 9\r")
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 9 {
		t.Errorf("the shell's exit code: %v, want 9", err)
	}
}

// screenText collects what a terminal shows.
type screenText struct {
	news chan []byte
	text bytes.Buffer
}

func watch(r io.Reader) *screenText {
	s := &screenText{news: make(chan []byte, 1024)}
	go func() {
		defer close(s.news)
		for {
			buf := make([]byte, 4096)
			n, err := r.Read(buf)
			s.news <- buf[:n]
			if err != nil {
				return
			}
		}
	}()
	return s
}

// await returns when want has been shown, and discards the output up to it.
func (s *screenText) await(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		if i := bytes.Index(s.text.Bytes(), []byte(want)); i >= 0 {
			s.text.Next(i + len(want))
			return
		}
		select {
		case b, open := <-s.news:
			s.text.Write(b)
			if !open && !bytes.Contains(s.text.Bytes(), []byte(want)) {
				t.Fatalf("the terminal ended before it showed %q: %q", want, run.Clip(s.text.String()))
			}
		case <-deadline:
			t.Fatalf("the terminal never showed %q: %q", want, run.Clip(s.text.String()))
		}
	}
}

// line returns the rest of the line after the awaited text.
func (s *screenText) line(t *testing.T) string {
	t.Helper()
	for {
		if line, _, whole := strings.Cut(s.text.String(), "\n"); whole {
			return line
		}
		b, open := <-s.news
		if !open {
			t.Fatalf("the output ended within a line: %q", s.text.String())
		}
		s.text.Write(b)
	}
}

func (s *screenText) write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

// oddNames are file names that break careless quoting.
var oddNames = []string{"plain", "two words", "it's", `"double"`, "dollar $HOME `id`", "star*?[x]", "semi;colon&|", "-dash", "ümläut ☃", "tab\there", `back\slash`}

// oddFiles makes a directory with a file of each odd name, its name in it, on
// the laptop.
func oddFiles(t *testing.T, w *world, dir string) {
	t.Helper()
	for _, name := range oddNames {
		w.write(t, filepath.Join(dir, name), name)
	}
}

// sameTree fails unless two directories on the laptop are equal.
func sameTree(t *testing.T, w *world, a, b string) {
	t.Helper()
	if r := w.do("diff", "-r", a, b); r.Code != 0 {
		t.Error(r)
	}
}

func TestSCP(t *testing.T) {
	t.Parallel()
	for name, protocol := range map[string][]string{"sftp": nil, "legacy": {"-O", "-T"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := shared
			dir := "/root/scp-" + name
			oddFiles(t, w, dir)
			w.must(t, append(append([]string{"scp", "-q", "-r", "-p"}, protocol...), dir, train+":/tmp")...)
			w.must(t, append(append([]string{"scp", "-q", "-r", "-p"}, protocol...), train+":/tmp/scp-"+name, dir+"-back")...)
			sameTree(t, w, dir, dir+"-back")
			if r := w.do(append(append([]string{"scp", "-q"}, protocol...), train+":/nonexistent", "/tmp")...); r.Code == 0 || !strings.Contains(strings.ToLower(r.Stderr), "no such file") {
				t.Errorf("a file that is not there: %s", r)
			}
			for _, odd := range oddNames {
				source := train + ":/tmp/scp-" + name + "/" + odd
				if name == "legacy" { // there the far shell reads the name, and scp -T lets it
					source = train + ":" + shellWord("/tmp/scp-"+name+"/"+odd)
				} else if strings.ContainsAny(odd, `*?[\`) {
					continue // scp itself expands these
				}
				w.must(t, append(append([]string{"scp", "-q"}, protocol...), source, "/root/one-"+name)...)
				got, err := w.Laptop.ReadFile("/root/one-" + name)
				if err != nil || got != odd {
					t.Errorf("%q came back as %q, %v", odd, got, err)
				}
			}
		})
	}
}

func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func TestSFTP(t *testing.T) {
	t.Parallel()
	w := shared
	w.write(t, "/root/sftp.in", "sftp")
	batch := `mkdir /tmp/sftp
cd /tmp/sftp
put /root/sftp.in a
chmod 640 a
rename a b
symlink b link
ls -l
df
get b /root/sftp.out
rm b
rm link
cd ..
rmdir sftp
`
	out := w.mustFeed(t, batch, "sftp", "-q", "-b", "-", train)
	holds(t, "ls -l in sftp", out, "-rw-r-----")
	got, err := w.Laptop.ReadFile("/root/sftp.out")
	if err != nil || got != "sftp" {
		t.Errorf("the file came back as %q, %v", got, err)
	}
}

func TestRsync(t *testing.T) {
	t.Parallel()
	w := shared
	oddFiles(t, w, "/root/rsync")
	w.must(t, "rsync", "-a", "/root/rsync/", train+":/tmp/rsync")
	w.write(t, "/root/rsync/more", "more")
	out := w.must(t, "rsync", "-a", "--itemize-changes", "--delete", "/root/rsync/", train+":/tmp/rsync")
	if n := strings.Count(out, "<f"); n != 1 {
		t.Errorf("the second run sent %d files, want only the new one: %s", n, out)
	}
	w.must(t, "rsync", "-a", train+":/tmp/rsync/", "/root/rsync-back")
	sameTree(t, w, "/root/rsync", "/root/rsync-back")
}

func TestGit(t *testing.T) {
	t.Parallel()
	w := shared
	w.must(t, "ssh", train, "rm -rf /root/repo.git; git init -q --bare /root/repo.git")
	script := `set -e
rm -rf /root/work /root/clone
git init -q /root/work
cd /root/work
git config user.email lab@example.org; git config user.name lab
seq 20000 >numbers; git add numbers; git commit -qm one
git push -q train:/root/repo.git HEAD:main
git clone -q -b main ssh://train/root/repo.git /root/clone
cmp numbers /root/clone/numbers
`
	w.mustFeed(t, script, "sh")
}

// TestAgentForwarding checks that a user can log in from a workspace to another SSH server with the
// laptop's key, as git clone git@… does.
func TestAgentForwarding(t *testing.T) {
	t.Parallel()
	w := shared
	if r := w.do("ssh", train, "ssh-add -l"); r.Code == 0 {
		t.Errorf("a workspace that was not given the agent has it: %s", r)
	}
	w.up(t, "forwarding", "--forward-agent", "--image", "keyway-lab/base")
	holds(t, "ssh-add -l inside", w.must(t, "ssh", "forwarding", "ssh-add -l"), "ED25519")
	first := w.must(t, "ssh", "forwarding", "echo $SSH_AUTH_SOCK")
	second := w.must(t, "ssh", "forwarding", "echo $SSH_AUTH_SOCK")
	equal(t, "SSH_AUTH_SOCK is the same for each connection", second, first)
	// A workspace cannot dial its own guest, so it requests another signature. That is refused
	// until the user's policy permits it.
	sign := "ssh-add -L >key.pub && echo text | ssh-keygen -q -Y sign -n file -f key.pub >signature && test -s signature"
	if r := w.do("ssh", "forwarding", sign); r.Code == 0 {
		t.Errorf("a workspace signs what no rule allows: %s", r)
	}
	holds(t, "keyway log", w.must(t, "keyway", "log"), "to sign for file, asked from forwarding")
	rule := "rules:\n  - allow: sign:file\n    from: forwarding\n"
	w.mustFeed(t, rule, "sh", "-c", "mkdir -p ~/.config/keyway && cat >~/.config/keyway/policy.yaml.new && mv ~/.config/keyway/policy.yaml.new ~/.config/keyway/policy.yaml")
	w.must(t, "keyway", "policy", "check")
	w.must(t, "ssh", "forwarding", sign)
	holds(t, "keyway keys", w.must(t, "keyway", "keys"), "ssh-ed25519")
	holds(t, "keyway log", w.must(t, "keyway", "log", "--verify"), "sound")
	if r := w.do("ssh", "-a", "forwarding", "timeout 20 ssh-add -l"); r.Code == 0 {
		t.Errorf("without a connection that carries an agent, the socket answers: %s", r)
	}
	holds(t, "ssh -A", w.must(t, "ssh", "-A", train, "ssh-add -l"), "ED25519")
}

// echoServer is a Python program that echoes on a TCP port of 127.0.0.1 that the system chooses, or
// on the unix socket that its argument names. It prints its address, and ends with its standard
// input, and so with the connection that started it.
const echoServer = `
import os, socket, sys, threading
if len(sys.argv) > 1:
    s = socket.socket(socket.AF_UNIX)
    if os.path.exists(sys.argv[1]): os.unlink(sys.argv[1])
    s.bind(sys.argv[1])
else:
    s = socket.socket(); s.bind(("127.0.0.1", 0))
s.listen(300)
print("listening on", s.getsockname()[1], "of 127.0.0.1" if len(sys.argv) == 1 else "", flush=True)
def serve(c):
    while data := c.recv(65536):
        c.sendall(data)
    c.shutdown(socket.SHUT_WR)
    c.close()
def accept():
    while True:
        c, _ = s.accept()
        threading.Thread(target=serve, args=(c,), daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
sys.stdin.read()
`

// background runs a command until the test ends, with its standard input open. It returns the
// command's output when a line contains ready.
func (w *world) background(t *testing.T, ready string, cmd *exec.Cmd) *screenText {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = wr, wr
	err = cmd.Start()
	wr.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		r.Close()
	})
	s := watch(r)
	s.await(t, ready)
	return s
}

// startEcho runs the echo server in the workspace and returns its port.
func (w *world) startEcho(t *testing.T, where ...string) int {
	t.Helper()
	cmd := w.command(append([]string{"ssh", train, "python3", "-c", shellWord(echoServer)}, where...)...)
	return echoPort(t, w.background(t, "listening on ", cmd))
}

// echoPort returns the port that an echo server has printed; 0 for a unix socket.
func echoPort(t *testing.T, s *screenText) int {
	t.Helper()
	line := s.line(t)
	port, err := strconv.Atoi(strings.Fields(line)[0])
	if err != nil {
		return 0
	}
	return port
}

// tunnel runs ssh with a forwarding and returns when it works.
func (w *world) tunnel(t *testing.T, args ...string) {
	t.Helper()
	args = append([]string{"ssh", "-o", "ExitOnForwardFailure=yes"}, args...)
	w.background(t, "tunnel is up", w.command(append(args, train, "echo tunnel is up; exec sleep 1000")...))
}

// echoes sends size bytes to an echo server over conn and compares what comes
// back.
func echoes(conn net.Conn, size int) error {
	defer conn.Close()
	sent := make([]byte, size)
	if _, err := rand.Read(sent); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		_, err := conn.Write(sent)
		if half, ok := conn.(interface{ CloseWrite() error }); ok && err == nil {
			err = half.CloseWrite()
		}
		failed <- err
	}()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(conn)
	if err == nil {
		err = <-failed
	}
	if err == nil && !bytes.Equal(got, sent) {
		err = fmt.Errorf("%d bytes came back of %d, or others", len(got), len(sent))
	}
	return err
}

func dial(t *testing.T, w *world, address string) net.Conn {
	t.Helper()
	conn, err := w.Laptop.Dial(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestLocalForwarding(t *testing.T) {
	t.Parallel()
	w := shared
	port := w.startEcho(t)
	w.startEcho(t, "/tmp/echo.sock")
	w.must(t, "rm", "-f", "/tmp/local.sock")
	w.tunnel(t, "-L", fmt.Sprintf("127.0.0.1:7101:127.0.0.1:%d", port), "-L", "127.0.0.1:7102:/tmp/echo.sock", "-L", fmt.Sprintf("/tmp/local.sock:127.0.0.1:%d", port))
	for _, port := range []string{"7101", "7102"} {
		if err := echoes(dial(t, w, "127.0.0.1:"+port), 3<<20); err != nil {
			t.Errorf("port %s: %v", port, err)
		}
	}
	conn, err := net.Dial("unix", w.Laptop.Path("/tmp/local.sock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := echoes(conn, 3<<20); err != nil {
		t.Errorf("unix socket: %v", err)
	}
}

func TestRemoteForwarding(t *testing.T) {
	t.Parallel()
	w := shared
	port := echoPort(t, w.background(t, "listening on ", w.command("python3", "-c", echoServer)))
	to := fmt.Sprintf(":127.0.0.1:%d", port)
	w.must(t, "ssh", train, "rm -f /tmp/remote.sock")
	w.tunnel(t, "-R", "7202"+to, "-R", "/tmp/remote.sock"+to)
	client := `
import socket
for where in (("127.0.0.1", 7202), "/tmp/remote.sock"):
    s = socket.socket(socket.AF_UNIX if where == "/tmp/remote.sock" else socket.AF_INET)
    s.connect(where)
    s.sendall(b"x" * 100000); s.shutdown(socket.SHUT_WR)
    n = 0
    while d := s.recv(65536): n += len(d)
    print(n)
`
	equal(t, "bytes echoed by the laptop", w.mustFeed(t, client, "ssh", train, "python3 -"), "100000\n100000\n")
	// The server tells the client the port that it chooses.
	holds(t, "ssh -R 0", w.do("ssh", "-R", "0"+to, train, "true").Stderr, "Allocated port")
}

func TestDynamicForwarding(t *testing.T) {
	t.Parallel()
	w := shared
	port := w.startEcho(t)
	w.tunnel(t, "-D", "127.0.0.1:7302")
	conn := socks(t, w, "127.0.0.1:7302", "127.0.0.1", port)
	if err := echoes(conn, 3<<20); err != nil {
		t.Error(err)
	}
}

// socks connects through a SOCKS5 server on the laptop (RFC 1928).
func socks(t *testing.T, w *world, server, host string, port int) net.Conn {
	t.Helper()
	conn := dial(t, w, server)
	if err := socksConnect(conn, host, port); err != nil {
		conn.Close()
		t.Fatal(err)
	}
	return conn
}

func socksConnect(conn net.Conn, host string, port int) error {
	request := append([]byte{5, 1, 0, 5, 1, 0, 3, byte(len(host))}, host...)
	request = append(request, byte(port>>8), byte(port))
	if _, err := conn.Write(request); err != nil {
		return err
	}
	answer := make([]byte, 2+10)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if answer[1] != 0 || answer[3] != 0 {
		return fmt.Errorf("the SOCKS server answers % x", answer)
	}
	return nil
}

func TestStdioForwarding(t *testing.T) {
	t.Parallel()
	w := shared
	port := w.startEcho(t)
	equal(t, "ssh -W", w.mustFeed(t, "through -W", "ssh", "-W", fmt.Sprintf("127.0.0.1:%d", port), train), "through -W")
	if r := w.do("ssh", "-W", "127.0.0.1:1", train); r.Code == 0 {
		t.Errorf("ssh -W to a closed port: %s", r)
	}
}

// TestControlMaster checks many sessions over one shared connection, which has one ProxyCommand.
func TestControlMaster(t *testing.T) {
	t.Parallel()
	w := shared
	w.must(t, "ssh", "-fNM", "-S", "/tmp/cm", train)
	defer w.must(t, "ssh", "-S", "/tmp/cm", "-O", "exit", train)
	for range 10 {
		equal(t, "over the shared connection", w.must(t, "ssh", "-S", "/tmp/cm", train, "echo hi"), "hi\n")
	}
	// The exit status arrives even if input and output have ended before, when a master closes the
	// channel.
	if r := w.do("ssh", "-S", "/tmp/cm", train, "exec >&- 2>&-; sleep 0.3; exit 7"); r.Code != 7 {
		t.Errorf("want exit code 7: %s", r)
	}
}
