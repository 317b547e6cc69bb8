//go:build linux

// Package mux runs the user's own ssh, scp, sftp, rsync and git with keyway's mux and without it,
// on the lab's three machines, and compares the results.
package mux

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"keyway/internal/audit"
	"keyway/test/lab"
	"keyway/test/lab/run"
)

const train = "train"

var bin string // the programs

func TestMain(m *testing.M) { run.Main(m, "mux", runAll) }

func runAll(m *testing.M) (code int, err error) {
	ctx := context.Background()
	if err := lab.Install(ctx, "test"); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "keyway-mux-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if err := lab.Build(ctx, dir); err != nil {
		return 1, err
	}
	bin = dir
	return m.Run(), nil
}

// world is a lab with the tests' methods.
type world struct{ *lab.Lab }

type result = run.Result

// patience bounds the wait for any event. It is far longer than any takes, so that a hang fails one
// test and not the run.
const patience = 3 * time.Minute

// command prepares a command on the laptop.
func (w *world) command(argv ...string) *exec.Cmd {
	cmd := w.Laptop.Command(argv[0], argv[1:]...)
	cmd.Env = append(cmd.Env, w.AskpassEnv()...)
	return cmd
}

// do runs a command on the laptop.
func (w *world) do(argv ...string) result {
	return run.Command(w.command(argv...), strings.Join(argv, " "), "", patience)
}

// must runs a command that has to work and returns its standard output.
func (w *world) must(t *testing.T, argv ...string) string {
	t.Helper()
	r := w.do(argv...)
	if r.Code != 0 {
		t.Fatal(r)
	}
	return r.Stdout
}

// write puts a file onto the laptop, as a whole.
func (w *world) write(t *testing.T, path, content string) {
	t.Helper()
	if err := w.Laptop.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// muxed returns a lab of its own with a workspace that the mux holds ready: the
// tests lock the agent and change the policy.
func muxed(t *testing.T) *world {
	t.Helper()
	l, err := lab.Start(context.Background(), lab.Options{Bin: bin})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{l}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := l.Laptop.ReadFile("/root/.local/state/keyway/mux.log")
			t.Logf("mux.log: %s", text)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, argv := range [][]string{
		{"keyway", "init", "--yes"},
		{"keyway", "unlock"},
		{"keyway", "up", "--on", "gpu1", "--engine", "host", "--name", train, "--mux"},
	} {
		w.must(t, argv...)
	}
	w.awaitMux(t)
	return w
}

// awaitMux enters the workspace, by which the mux is started, until that is ready.
func (w *world) awaitMux(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		w.must(t, "ssh", train, "true")
		if w.must(t, "keyway", "mux") == train+": ready\n" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the mux does not hold the workspace ready")
		}
	}
}

// session is an ssh to the workspace that is open, for as long as anything may take.
type session struct {
	in    io.WriteCloser
	out   *bufio.Reader
	cmd   *exec.Cmd
	bound *time.Timer
}

// open begins one. The caller waits for it.
func (w *world) open(t *testing.T, command string) *session {
	t.Helper()
	return w.start(t, "ssh", train, command)
}

// start begins a command on the laptop that may take as long as anything.
func (w *world) start(t *testing.T, argv ...string) *session {
	t.Helper()
	cmd := w.command(argv...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &session{in, bufio.NewReader(out), cmd, time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })}
}

// expect reads a line.
func (s *session) expect(t *testing.T, want string) {
	t.Helper()
	if line, err := s.out.ReadString('\n'); line != want+"\n" {
		t.Fatalf("%q instead of %q: %v", line, want, err)
	}
}

func (s *session) wait() error {
	defer s.bound.Stop()
	return s.cmd.Wait()
}

// fallback is the one line that ssh prints when the mux has refused it.
const fallback = "muxclient: master hello exchange failed\r\n"

// behind runs a session with those options, and a script while it is open.
func behind(options, script string) string {
	return `d=$(mktemp -d); mkfifo $d/in; SSH ` + options + ` train 'echo up; cat' <$d/in >$d/out & exec 5>$d/in
		while kill -0 $! && ! grep -q up $d/out 2>/dev/null; do sleep 0.05; done; ` + script + `
		exec 5>&-; wait $!; echo "code $?"; cat $d/out; rm -r $d; `
}

// socksTo asks a SOCKS server for HOST:22, and prints the first bytes of that host.
func socksTo(address string, port int, host string) string {
	return fmt.Sprintf(`exec 3<>/dev/tcp/%s/%d; h=%sHOST; printf '\5\1\0\5\1\0\3'"\\x$(printf %%02x ${#h})$h"'\0\26' >&3; timeout 30 head -c 19 <&3 | tail -c 7; exec 3>&-
`, address, port, host)
}

// comparison is a command, with SSH for ssh, that does the same with and without the mux.
type comparison struct {
	name, command string
	byItself      bool // the mux sends the ssh away
	aside         bool // it never asks the mux
	says          bool // ssh itself reports a forward, and the mux does not
}

// differential are those of each thing that ssh does.
var differential = []comparison{
	{name: "exit status", command: "SSH train 'exit 3'"},
	{name: "no such program", command: "SSH train nosuch"},
	{name: "a signal", command: "SSH train 'kill -9 $$'"},
	{name: "both outputs", command: "SSH train 'echo out; echo err >&2'"},
	{name: "input and its end", command: "printf abc | SSH train cat"},
	{name: "no input", command: "SSH -n train cat"},
	{name: "input closed", command: "SSH train cat <&-"},
	{name: "output closed", command: "SSH train 'echo out; echo err >&2' >&-"},
	{name: "errors closed", command: "SSH train 'echo out; echo err >&2' 2>&-"},
	{name: "one descriptor for both outputs", command: "SSH train 'echo out; echo err >&2' 2>&1 | sort"},
	{name: "a loop that keeps its input", command: `printf 'a\nb\nc\n' | while read l; do SSH -n train "echo got $l"; done`},
	{name: "a loop that loses its input", command: `printf 'a\nb\nc\n' | while read l; do echo "got $l"; SSH train 'cat >/dev/null'; done`},
	{name: "SendEnv", command: `LC_TEST=sent SSH -o SendEnv=LC_TEST train 'echo $LC_TEST'`},
	{name: "large variables", command: `for i in 1 2 3 4; do export LC_$i=$(head -c 100000 /dev/zero | tr '\0' a); done; SSH -o SendEnv='LC_*' train 'echo ${#LC_1} ${#LC_4}'`},
	{name: "RemoteCommand", command: "SSH -o RemoteCommand='echo remote' train"},
	{name: "a shell without a terminal", command: "echo 'echo from the script; exit 5' | SSH -T train"},
	{name: "a terminal", command: "SSH -tt train 'tty | cut -c1-8; stty size' 2>/dev/null"},
	{name: "a terminal's size", command: `script -qec "stty rows 33 cols 77; SSH -t train 'stty size' 2>/dev/null" /dev/null | grep -ao '33 77'`},
	{name: "a terminal's modes", command: `script -qec "stty -echo -icanon -ixon; SSH -t train 'stty -g' 2>/dev/null" /dev/null | grep -ao '[0-9a-f:]\{40,\}'`},
	{name: "much output", command: "SSH train 'head -c 8000000 /dev/zero' | md5sum"},
	{name: "much input", command: "head -c 8000000 /dev/zero | SSH train md5sum"},
	{name: "a reader that goes", command: "SSH train yes | head -3"},
	{name: "input from a file", command: "SSH train md5sum </etc/passwd"},
	{name: "output to a file", command: "SSH train 'seq 1000' >/tmp/out; md5sum </tmp/out"},
	{name: "input that nobody reads", command: "head -c 8000000 /dev/zero | SSH train 'echo done'"},
	{name: "a background process that holds the output", command: "SSH train 'sleep 0.3 & echo started'"},
	{name: "scp up and down", command: "scp -q -S /tmp/ssh /etc/passwd train:/tmp/p1 && scp -q -S /tmp/ssh train:/tmp/p1 /tmp/p2 && cmp /etc/passwd /tmp/p2 && echo same"},
	{name: "scp's older protocol", command: "scp -q -O -S /tmp/ssh /etc/passwd train:/tmp/p3 && SSH train 'cmp /etc/passwd /tmp/p3 && echo same'"},
	{name: "sftp", command: "echo 'ls -1 /etc/passwd' | sftp -q -b - -S /tmp/ssh train"},
	{name: "rsync", command: "rsync -a -e 'SSH' /etc/passwd train:/tmp/p4 && SSH train 'cmp /etc/passwd /tmp/p4 && echo same'"},
	{name: "git", command: `SSH train 'rm -rf /tmp/g; git init -q /tmp/g; git -C /tmp/g -c user.name=a -c user.email=a@b commit -q --allow-empty -m one'
		rm -rf /tmp/clone; GIT_SSH_COMMAND='SSH' git clone -q train:/tmp/g /tmp/clone && git -C /tmp/clone log --format=%s`},
	{name: "many at once", command: "for i in $(seq 32); do SSH train echo $i & done | sort -n; wait"},
	{name: "an end that stays as it is", command: `python3 -c 'import fcntl,os,subprocess
r, w = os.pipe(); os.write(w, b"x"); os.close(w); o, p = os.pipe()
subprocess.run("SSH train cat".split(), stdin=r, stdout=p)
print(os.read(o, 9), [fcntl.fcntl(f, fcntl.F_GETFL) & os.O_NONBLOCK for f in (r, p)])'`},
	{name: "sockets", command: `python3 -c 'import socket,subprocess
a, b = socket.socketpair()
p = subprocess.Popen("SSH train cat".split(), stdin=b, stdout=b); b.close()
a.send(b"over a socket"); a.shutdown(1); got = b""
while x := a.recv(100): got += x
print(got, p.wait())'`},
	{name: "a client that is killed", command: `SSH train 'echo $$ >/tmp/pid; while sleep 0.1; do echo; done' >/dev/null &
		until SSH train 'test -s /tmp/pid'; do sleep 0.1; done; kill -TERM $!; wait $!; echo $?
		SSH train 'p=$(cat /tmp/pid); rm /tmp/pid; while kill -0 $p 2>/dev/null; do sleep 0.1; done; echo ended'`},
	{name: "a client that is killed without a word", command: `SSH train 'echo $$ >/tmp/pid; while sleep 0.1; do echo; done' >/dev/null &
		until SSH train 'test -s /tmp/pid'; do sleep 0.1; done; { kill -KILL $!; wait $!; } 2>/dev/null; echo $?
		SSH train 'p=$(cat /tmp/pid); rm /tmp/pid; while kill -0 $p 2>/dev/null; do sleep 0.1; done; echo ended'`},

	{name: "SetEnv", command: "SSH -o SetEnv=LC_TEST=set train 'echo $LC_TEST'"},
	{name: "a local forward", command: behind("-L 127.0.0.1:17001:GPU", `head -c 7 </dev/tcp/127.0.0.1/17001; echo; head -c 7 </dev/tcp/127.0.0.1/17001; echo`) +
		`(exec 4<>/dev/tcp/127.0.0.1/17001) 2>/dev/null || echo closed`},
	{name: "a local forward to nothing", command: behind("-L 17001:127.0.0.1:1", `head -c 7 </dev/tcp/127.0.0.1/17001 2>/dev/null; echo`)},
	{name: "a socket forwarded", command: `cd /tmp; rm -f s.sock; ` + behind("-L /tmp/s.sock:GPU", `stat -c '%A %F' s.sock; python3 -c 'import socket
s = socket.socket(socket.AF_UNIX); s.connect("s.sock"); print(s.recv(7))'`) + `ls /tmp | grep -c 's.sock\|keyway-'`},
	{name: "a forward in LocalForward", command: behind("-o LocalForward='17001 GPU'", `head -c 7 </dev/tcp/127.0.0.1/17001`)},
	{name: "a port that is taken", command: `python3 -c 'import socket, subprocess
s = socket.create_server(("127.0.0.1", 17001))
print(subprocess.call("SSH -o ExitOnForwardFailure=yes -L 127.0.0.1:17001:GPU train echo ran".split(), stderr=subprocess.DEVNULL))'`, says: true},
	{name: "much through a forward", command: `SSH train 'cd /tmp; head -c 8000000 /dev/zero >zero; cat >serve.py' <<'X'
import socket
l = socket.create_server(("127.0.0.1", 17004))
for _ in "12":
    c, _ = l.accept(); n = 0
    while b := c.recv(1 << 16): n += len(b)
    c.sendall(b"%d\n" % n + open("zero", "rb").read()); c.close()
X
		SSH train 'cd /tmp; python3 serve.py' & ` + behind("-L 17001:127.0.0.1:17004", `python3 -c 'import hashlib, socket
def once():
    try: s = socket.create_connection(("127.0.0.1", 17001)); s.sendall(bytes(3000000)); s.shutdown(1); b = b""
    except OSError: return False
    while True:
        try: more = s.recv(1 << 16)
        except OSError: return False
        if not more: break
        b += more
    if b: print(hashlib.sha256(b).hexdigest(), len(b))
    return bool(b)
done = 0
while done < 2: done += once()'`) + "wait"},
	{name: "a remote forward", command: "SSH -R 17002:BASTION train 'head -c 7 </dev/tcp/127.0.0.1/17002'; SSH train '(exec 4<>/dev/tcp/127.0.0.1/17002) 2>/dev/null || echo closed'"},
	{name: "a remote forward to nothing", command: "SSH -R 17002:127.0.0.1:1 train 'head -c 7 </dev/tcp/127.0.0.1/17002 2>/dev/null; echo ran'"},
	{name: "a remote forward of any port", command: "SSH -R 0:BASTION train 'echo ran' 2>&1 | sed 's/port [0-9]*/port N/'"},
	{name: "a remote socket", command: "SSH -R /tmp/r.sock:BASTION train 'python3 -c \"import socket; s = socket.socket(socket.AF_UNIX); s.connect(\\\"/tmp/r.sock\\\"); print(s.recv(7))\"; stat -c %A /tmp/r.sock'; SSH train 'test -e /tmp/r.sock || echo gone'"},
	{name: "a dynamic forward", command: behind("-D 17003", socksTo("127.0.0.1", 17003, "GPU"))},
	{name: "a remote dynamic forward", command: "SSH -R 17005 train bash <<'X'\n" + socksTo("127.0.0.1", 17005, "BASTION") + "X"},
	{name: "standard streams forwarded", command: "SSH -W GPU train </dev/null | head -c 7"},
	{name: "standard streams forwarded with an answer", command: `(echo SSH-2.0-none; sleep 1) | timeout 60 ssh MODE -W GPU train | head -c 7`},
	{name: "standard streams forwarded to nothing", command: "SSH -W 127.0.0.1:1 train </dev/null 2>&1 | grep -o 'connect failed'"},
	{name: "the agent", command: "SSH -A train 'ssh-add -l | wc -l; ssh-add -T /dev/null >/dev/null 2>&1; echo $?'; SSH train 'ssh-add -l 2>/dev/null | wc -l'"},
	{name: "the agent after its session", command: "s=$(SSH -A train 'ssh-add -l >/dev/null && echo $SSH_AUTH_SOCK'); SSH train \"SSH_AUTH_SOCK=$s timeout 60 ssh-add -l >/dev/null 2>&1; echo \\$?\""},
	{name: "the agent's keys stay", command: "SSH -A train 'ssh-add -D >/dev/null 2>&1; echo $?; ssh-add -l | wc -l'"},
	{name: "the agent by its option", command: "SSH -o ForwardAgent=yes train 'ssh-add -l | wc -l'"},

	{name: "no session", command: "timeout 10 ssh MODE -N train", byItself: true},
	{name: "no session by its option", command: "timeout 10 ssh MODE -o SessionType=none train", byItself: true},
	{name: "no session, and input", command: "echo input | { timeout 10 ssh MODE -N train; cat; }", byItself: true},
	{name: "a forward without a session", command: `SSH -N -L 17001:GPU train & until head -c 7 </dev/tcp/127.0.0.1/17001; do sleep 0.05; done 2>/dev/null; kill $!; wait $!; echo " $?"; (exec 4<>/dev/tcp/127.0.0.1/17001) 2>/dev/null || echo closed`, byItself: true},
	{name: "no session on a terminal", command: `script -qec "timeout --foreground 10 ssh MODE -N train" /dev/null </dev/null`},
	{name: "no session on a terminal, and a command", command: `script -qec "timeout --foreground 10 ssh MODE -o SessionType=none train touch /tmp/ran" /dev/null </dev/null; SSH train 'ls /tmp/ran 2>&1'`},
	{name: "a forward without a session, on a terminal", command: `SHELL=/bin/bash script -qec 'SSH -N -L 17001:GPU train & until head -c 7 </dev/tcp/127.0.0.1/17001; do sleep 0.05; done 2>/dev/null; kill $!; wait $!; while (exec 4<>/dev/tcp/127.0.0.1/17001) 2>/dev/null; do sleep 0.05; done; echo closed' /dev/null </dev/null`},
	{name: "into the background", command: "SSH -f train 'echo background >/tmp/bg'; while ! test -s /tmp/bg; do SSH train 'cp /tmp/bg /tmp/bg2 2>/dev/null'; cat /tmp/bg2 2>/dev/null && break; scp -q -S /tmp/ssh train:/tmp/bg /tmp/bg; done 2>/dev/null; cat /tmp/bg; rm /tmp/bg", byItself: true},
	{name: "a local command", command: "SSH -o PermitLocalCommand=yes -o LocalCommand='echo local' train 'echo remote'", byItself: true},
	{name: "another user", command: "SSH nobody@train true", byItself: true},
	{name: "what it tells of its connection", command: "SSH -v train 'echo out' 2>&1 | grep -c '^out\\|Authenticated to\\|Sending command: echo'", byItself: true},
}

func TestMuxDoesAsSSHDoes(t *testing.T) {
	t.Parallel()
	w := muxed(t)
	if err := w.Laptop.WriteFile("/tmp/ssh", "#!/bin/sh\nexec ssh $MODE \"$@\"\n", 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(command, mode string) result {
		command = strings.NewReplacer("SSH-2", "SSH-2", "SSH_AUTH", "SSH_AUTH", "SSH", "ssh "+mode, "MODE", mode,
			"GPUHOST", w.GPU.Address, "GPU", w.GPU.Address+":22", "BASTIONHOST", w.Bastion.Address, "BASTION", w.Bastion.Address+":22").Replace(command)
		return w.do("env", "MODE="+mode, "bash", "-c", command)
	}
	for _, c := range slices.Concat(differential, descriptors, recipes, failing, apart) {
		t.Run(c.name, func(t *testing.T) {
			alone := run(c.command, "-o ControlPath=none")
			before := w.sessions(t)
			with := run(c.command, "-o ControlMaster=no")
			said, served := with.Stderr, w.sessions(t) != before
			if c.byItself {
				said = strings.Replace(said, fallback, "", 1)
				if said == with.Stderr && !strings.Contains(c.command, "2>") {
					t.Errorf("the mux has served it: %s", with)
				}
			} else if served == c.aside {
				t.Errorf("the mux has served it: %t; %s", served, with)
			}
			if alone.Code != with.Code || alone.Stdout != with.Stdout || alone.Stderr != said && !c.says {
				t.Errorf("alone: %s\nwith the mux: %s", alone, with)
			}
		})
	}
	many := run("for i in $(seq 64); do SSH train echo $i & done | sort -n | tail -1; wait", "-o ControlMaster=no")
	if many.Stdout != "64\n" || many.Stderr != "" {
		t.Errorf("64 at once: %s", many)
	}
	if r := w.do("ssh", "-O", "check", train); r.Code != 0 || !strings.Contains(r.Stderr, "Master running") {
		t.Error(r)
	}
	w.holdsLittle(t)
}

// sessions returns the number of sessions that the agent has allowed.
func (w *world) sessions(t *testing.T) int {
	t.Helper()
	n := 0
	for line := range strings.Lines(w.log(t)) {
		if strings.Contains(line, "  allowed  ") && strings.Contains(line, "for a session on train as") {
			n++
		}
	}
	return n
}

// refused returns the number of sessions that the agent has refused because of the policy's second
// line, as its log counts them.
func (w *world) refused(t *testing.T) int {
	t.Helper()
	n := 0
	for line := range strings.Lines(w.must(t, "keyway", "log", "--json")) {
		var e audit.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if e.Event == audit.Session && e.Verdict == audit.Denied && e.PID != 0 && strings.Contains(e.Rule+e.Reason, "line 2 of the policy") {
			n += max(1, int(e.More))
		}
	}
	return n
}

func (w *world) log(t *testing.T) string {
	t.Helper()
	return w.must(t, "keyway", "log")
}

// typed runs an interactive shell on a terminal, types into it, and awaits a text
// after each line.
const typed = `
import fcntl, os, pty, select, struct, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
seen = b""
def await_(want):
    global seen
    end = time.time() + 60
    while want not in seen:
        if time.time() > end: sys.exit("no %r in %r" % (want, seen))
        if select.select([fd], [], [], 1)[0]: seen += os.read(fd, 4096)
    seen = seen[seen.index(want) + len(want):]
def line(text, want):
    os.write(fd, text.encode() + b"\r"); await_(want)
def raw():
    "waits until ssh has the terminal to itself, as it does after it has set its signals up"
    end = time.time() + 60
    while termios.tcgetattr(fd)[3] & termios.ICANON:
        if time.time() > end: sys.exit("ssh does not take the terminal")
        time.sleep(0.01)
`

func TestMuxLeavesTheShellItsInput(t *testing.T) {
	t.Parallel()
	w := muxed(t)
	before := w.sessions(t)
	program := typed + `
line("PS1=; stty -echo; echo re''ady", b"ready")
line("ssh train 'echo be''gun; cat >/tmp/stolen' & echo", b"begun")
for n in range(6):
    line("echo line$((%d * 7)).END" % n, b"line%d.END" % (n * 7))
line("kill %1; wait %1; echo kil''led", b"killed")
`
	w.must(t, "python3", "-c", program)
	if w.sessions(t) == before {
		t.Error("the mux has not served it")
	}
	if stolen := w.must(t, "ssh", train, "cat /tmp/stolen"); stolen != "" {
		t.Errorf("%q was stolen from the shell", stolen)
	}
}

func TestMuxTerminal(t *testing.T) {
	t.Parallel()
	w := muxed(t)
	before := w.sessions(t)
	program := typed + `
line("PS1=; stty -echo; echo re''ady", b"ready")
line("ssh -t train 'trap \"stty size\" WINCH; trap \"echo int; exit 9\" INT; echo be''gun; while :; do sleep 0.1; done'; echo code=$?", b"begun")
raw()
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 41, 123, 0, 0))
await_(b"41 123")
os.write(fd, b"\x03")
await_(b"code=9")
line("ssh -t train 'echo be''gun; exec cat'; echo code=$?", b"begun")
raw()
line("~~tilde", b"~tilde")
os.write(fd, b"~.")
await_(b"code=255")
`
	w.must(t, "python3", "-c", program)
	if w.sessions(t) < before+2 {
		t.Error("the mux has not served it")
	}
}

// banner is the beginning of an sshd's first line.
const banner = "SSH-2.0"

func TestMuxIsControlled(t *testing.T) {
	t.Parallel()
	w := muxed(t)
	read := func() string { return w.do("bash", "-c", "head -c 7 </dev/tcp/127.0.0.1/17001").Stdout }
	local := "17001:" + w.GPU.Address + ":22"
	before := w.sessions(t)
	for range 2 { // the second finds the first, as OpenSSH's does
		w.must(t, "ssh", "-O", "forward", "-L", local, train)
	}
	if got := read(); got != banner || w.sessions(t) != before+2 {
		t.Errorf("%q by a forward, for which the agent was asked %d times", got, w.sessions(t)-before)
	}
	w.must(t, "ssh", "-O", "cancel", "-L", local, train)
	if got := read(); got != "" {
		t.Errorf("%q by a forward that was cancelled", got)
	}
	if r := w.do("ssh", "-O", "cancel", "-L", local, train); !strings.Contains(r.Stderr, "port not forwarded") {
		t.Errorf("cancelled twice: %s", r)
	}
	port := strings.TrimSpace(w.must(t, "ssh", "-O", "forward", "-R", "0:"+w.Bastion.Address+":22", train))
	if got := w.must(t, "ssh", train, "head -c 7 </dev/tcp/127.0.0.1/"+port); got != banner {
		t.Errorf("%q by port %s", got, port)
	}

	w.write(t, "/root/.config/keyway/policy.yaml", "rules:\n  - deny: session\n    program: '*/bash'\n")
	if r := w.do("bash", "-c", "ssh -O forward -L "+local+" train; exit $?"); r.Code != 255 || read() != "" {
		t.Errorf("a forward that the policy denies: %s", r)
	}
	w.write(t, "/root/.config/keyway/policy.yaml", "rules: []\n")

	w.must(t, "ssh", "-O", "stop", train)
	if r := w.do("ssh", "-O", "check", train); r.Code == 0 {
		t.Errorf("it was stopped: %s", r)
	}
	w.awaitMux(t)
	w.must(t, "ssh", "-O", "exit", train)
	w.awaitMux(t)
}

// tries are ways to get a session of the mux. Each prints N by itself when that refuses.
var tries = []string{
	"ssh train echo N",
	"ssh -n train echo N",
	"ssh -A train echo N",
	"echo 'echo N' | ssh -T train",
	"echo N | ssh train cat",
	"ssh -tt train echo N | tr -d '\\r'",
	"ssh -o RemoteCommand='echo N' train",
	"ssh -o SetEnv=LC_N=1 train 'echo N'",
	"ssh -L 17021:GPU train echo N",
	"ssh -R 17022:GPU train echo N",
	"ssh -D 17023 train echo N",
	"ssh -W GPU train </dev/null | head -c 7 >/dev/null; echo N",
	"scp -q /tmp/p train:/tmp/pN && echo N",
	"scp -q -O /tmp/p train:/tmp/pN && echo N",
	"echo 'ls -1 /tmp' | sftp -q -b - train >/dev/null && echo N",
	"rsync -a /tmp/p train:/tmp/pN && echo N",
	"mkdir -p /tmp/link && ln -sf /usr/bin/ssh /tmp/link/ssh && /tmp/link/ssh train echo N",
	"mkdir -p /tmp/copy && cp /usr/bin/ssh /tmp/copy/ssh && /tmp/copy/ssh train echo N",
	"setsid -w ssh train echo N",
	"(trap '' INT TERM; ssh train echo N)",
	"python3 -c 'import subprocess, sys; sys.exit(subprocess.call([\"ssh\", \"train\", \"echo N\"]))'",
	"keyway ssh train echo N",
	"keyway run train -- echo N",
}

// late is a client that greets the mux in time, and wants its session a while after it has
// been told to continue. It prints the number of the answer.
const late = `
import socket, struct, subprocess, sys, time
config = subprocess.run(["ssh", "-G", "train"], capture_output=True, text=True).stdout
s = socket.socket(socket.AF_UNIX)
s.connect(next(line.split(" ", 1)[1] for line in config.splitlines() if line.startswith("controlpath ")))
def number(n): return struct.pack(">I", n)
def text(b): return number(len(b)) + b
def say(*parts): s.sendall(text(b"".join(parts)))
def heard(): return s.recv(struct.unpack(">I", s.recv(4, socket.MSG_WAITALL))[0], socket.MSG_WAITALL)
heard()
say(number(1), number(4))
print("greeted", flush=True)
sys.stdin.readline()
time.sleep(1.2)
say(number(0x10000002), number(0), text(b""), *[number(0)] * 4, number(0xffffffff), text(b"xterm"), text(b"echo late"))
for fd in range(3): socket.send_fds(s, [b"\0"], [fd])
print("%#x" % struct.unpack(">I", heard()[:4]), flush=True)
`

func TestMuxIsNoWayAroundTheAgent(t *testing.T) {
	t.Parallel()
	w := muxed(t)
	w.write(t, "/root/.config/keyway/policy.yaml", "rules:\n  - deny: session\n    program: '*/bash'\n")
	before := w.sessions(t)
	w.write(t, "/tmp/p", "copied\n")
	for i, try := range tries {
		refused := w.refused(t)
		r := w.do("bash", "-c", strings.NewReplacer("GPU", w.GPU.Address+":22", "N", strconv.Itoa(i)).Replace(try)+"; exit $?")
		if r.Code != 0 || r.Stdout != fmt.Sprintln(i) || !strings.Contains(r.Stderr, fallback) && !strings.Contains(try, "keyway") && !strings.Contains(try, " -q") {
			t.Error(r)
		}
		if w.refused(t) == refused || w.sessions(t) != before {
			t.Errorf("the log has no refusal of %s, or a session: %s", try, w.log(t))
		}
	}

	w.write(t, "/root/.config/keyway/policy.yaml", "rules: []\n")
	w.awaitMux(t)
	open := w.open(t, "echo begun; cat")
	defer func() { _ = open.wait() }()
	open.expect(t, "begun")
	w.write(t, "/tmp/late.py", late)
	waiting := w.start(t, "bash", "-c", "exec -a ssh python3 /tmp/late.py")
	waiting.expect(t, "greeted")
	w.must(t, "keyway", "lock")
	allowed := w.sessions(t)
	_, _ = io.WriteString(waiting.in, "go on\n")
	waiting.expect(t, "0x80000002")
	if err := waiting.wait(); err != nil {
		t.Error(err)
	}
	if r := w.do("ssh", "-o", "BatchMode=yes", train, "true"); r.Code == 0 {
		t.Errorf("a locked agent lets somebody in: %s", r)
	}
	if w.sessions(t) != allowed {
		t.Error("a locked agent allows a session")
	}
	_, _ = io.WriteString(open.in, "goes on") // as keyway lock says of open sessions
	open.in.Close()
	if rest, err := io.ReadAll(open.out); string(rest) != "goes on" {
		t.Errorf("an open session: %q, %v", rest, err)
	}
}

// withdrawn are the ways in which the key of the mux's login becomes unusable for a session about
// which the user is not asked. FILE is the key's.
var withdrawn = []struct{ name, how string }{
	{"locked", "keyway lock"},
	{"expired", "ssh-add -q -t 1 FILE && while ssh-add -l; do sleep 0.1; done"},
	{"removed", "ssh-add -d FILE"},
	{"all removed", "ssh-add -D"},
	{"another in its place", "ssh-add -d FILE && ssh-keygen -q -t ed25519 -N '' -f /tmp/$$ && ssh-add /tmp/$$"},
	{"added again, with confirmation", "ssh-add -d FILE && ssh-add -q -c FILE"},
	{"a confirmation added", "ssh-add -q -c FILE"},
	{"another agent's", "ssh-add -D; ssh-agent -a /tmp/$$.agent && SSH_AUTH_SOCK=/tmp/$$.agent ssh-add -q FILE"},
	{"the login denied", "printf 'rules:\\n  - deny: login\\n' >/root/.config/keyway/policy.yaml"},
	{"the login asked about", "printf 'rules:\\n  - ask: login\\n' >/root/.config/keyway/policy.yaml"},
	{"the session asked about", "printf 'rules:\\n  - ask: session\\n' >/root/.config/keyway/policy.yaml"},
	{"the agent gone", "pkill -f 'keyway [a]gent'"},
}

// TestMuxEndsWithItsKey checks that the mux gives no session after the key is withdrawn, whatever
// its connection to the guest, and that an open session continues.
func TestMuxEndsWithItsKey(t *testing.T) {
	t.Parallel()
	w := muxed(t)
	const policy = "/root/.config/keyway/policy.yaml"
	agent := "export SSH_AUTH_SOCK=" + strings.TrimSpace(w.must(t, "sh", "-c", "ssh -G train | sed -n 's/^identityagent //p'")) + "; "
	for _, c := range withdrawn {
		t.Run(c.name, func(t *testing.T) {
			open := w.open(t, "echo begun; cat")
			defer func() { open.in.Close(); _ = open.wait() }()
			open.expect(t, "begun")
			allowed := w.sessions(t)
			w.must(t, "bash", "-c", agent+strings.ReplaceAll(c.how, "FILE", "/root/.ssh/id_ed25519"))
			r := w.do("ssh", "-o", "BatchMode=yes", train, "true")
			if n := w.sessions(t); n != allowed {
				t.Errorf("%d sessions more: %s", n-allowed, r)
			}
			_, _ = io.WriteString(open.in, "goes on")
			open.in.Close()
			if rest, err := io.ReadAll(open.out); string(rest) != "goes on" {
				t.Errorf("an open session: %q, %v", rest, err)
			}
			w.must(t, "bash", "-c", agent+"rm -f "+policy+"; ssh-add -D; keyway unlock")
			w.awaitMux(t)
		})
	}
	// Neither the agent of a forwarded connection nor another is the one that decided.
	for _, options := range []string{"IdentityAgent=$(dirname $SSH_AUTH_SOCK)/forward.sock", "IdentityAgent=none", "IdentityAgent=SSH_AUTH_SOCK", "IdentityFile=/tmp/other -o IdentitiesOnly=yes"} {
		allowed := w.sessions(t)
		r := w.do("bash", "-c", agent+"ssh -o BatchMode=yes -o "+options+" train true")
		if n := w.sessions(t); n != allowed {
			t.Errorf("%s: %d sessions more: %s", options, n-allowed, r)
		}
	}
	w.must(t, "keyway", "rm", "--yes", train)
	allowed := w.sessions(t)
	if r := w.do("ssh", "-o", "BatchMode=yes", train, "true"); r.Code == 0 || w.sessions(t) != allowed {
		t.Errorf("a workspace that was removed: %s", r)
	}
}

func TestMuxThatIsGoneIsNotMissed(t *testing.T) {
	t.Parallel()
	w := muxed(t)
	pid := func() string {
		return strings.TrimSpace(w.must(t, "sh", "-c", `d=$(ssh -G train | sed -n 's/^controlpath //p'); readlink ${d%/*} | cut -d/ -f3`))
	}
	r := w.do("bash", "-c", "ssh train 'echo begun >&2; sleep 600' 2>&1 | { read l; kill -9 "+pid()+"; cat; }; exit ${PIPESTATUS[0]}")
	if r.Code != 255 {
		t.Errorf("a session whose mux was killed: %s", r)
	}
	if r := w.do("ssh", train, "echo after"); r.Code != 0 || r.Stdout != "after\n" || r.Stderr != "" {
		t.Errorf("the next ssh: %s", r)
	}
	w.awaitMux(t)
	w.must(t, "kill", "-STOP", pid())
	if r := w.do("ssh", train, "echo stopped"); r.Code != 0 || r.Stdout != "stopped\n" {
		t.Errorf("with a mux that is stopped: %s", r)
	}
	w.awaitMux(t)
	// until the link holds the mux: a descriptor with O_ASYNC
	w.must(t, "bash", "-c", "until grep -qE 'flags:.*[2367][0-7]{4}$' /proc/"+pid()+"/fdinfo/*; do sleep 0.1; done")
	w.must(t, "kill", "-STOP", pid())
	w.signal(t, "KILL", w.pids("[l]ink serve")...)
	if r := w.do("ssh", train, "echo without both"); r.Code != 0 || r.Stdout != "without both\n" {
		t.Errorf("with a mux that is stopped, and whose link was killed: %s", r)
	}
	w.awaitMux(t)
	w.must(t, "keyway", "mux", "off", train)
	if r := w.do("ssh", train, "echo off"); r.Stdout != "off\n" || r.Stderr != "" {
		t.Error(r)
	}
}

// pids returns the processes that the mux's survival depends on.
func (w *world) pids(words string) []string {
	return strings.Fields(w.do("pgrep", "-f", words).Stdout)
}

// signal sends a signal to processes of the laptop.
func (w *world) signal(t *testing.T, signal string, pids ...string) {
	t.Helper()
	w.must(t, append([]string{"kill", "-" + signal}, pids...)...)
}

// TestMuxLosesNothing checks that a session on the mux's connection loses no byte when a bastion is
// killed, a cable is cut or a laptop is suspended.
func TestMuxLosesNothing(t *testing.T) {
	t.Parallel()
	w := muxed(t)
	const steps = 3
	// Each step waits for a line, so that each fault happens in the middle of the session.
	before := w.sessions(t)
	open := w.open(t, fmt.Sprintf("for i in $(seq %d); do echo begun $i; read go; seq 200000; done; exit 7", steps))
	laptop := append(w.pids("[m]ux serve"), w.pids("[l]ink serve")...)
	for i, harm := range []func() (mend func()){
		func() func() {
			w.Bastion.KillSSHD()
			return func() {
				if err := w.Bastion.StartSSHD(); err != nil {
					t.Error(err)
				}
			}
		},
		func() func() {
			if err := w.Cut(w.Laptop, w.Bastion); err != nil {
				t.Error(err)
			}
			return func() {
				if err := w.Restore(w.Laptop, w.Bastion); err != nil {
					t.Error(err)
				}
			}
		},
		func() func() {
			w.signal(t, "STOP", laptop...)
			return func() { w.signal(t, "CONT", laptop...) }
		},
	} {
		open.expect(t, fmt.Sprintf("begun %d", i+1))
		if _, err := io.WriteString(open.in, "go\n"); err != nil {
			t.Fatal(err)
		}
		open.expect(t, "1")
		mend := harm()
		time.Sleep(4 * time.Second) // longer than the stream takes to doubt the path
		mend()
		for n := 2; n <= 200000; n++ {
			open.expect(t, strconv.Itoa(n))
		}
	}
	if rest, err := io.ReadAll(open.out); len(rest) > 0 || err != nil {
		t.Errorf("%q behind the end, %v", rest, err)
	}
	var exit *exec.ExitError
	if err := open.wait(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Error(err)
	}
	if w.sessions(t) == before {
		t.Error("the mux has not served it")
	}
}

// TestMuxOutlivesAGuest checks that a session ends with 255 at once when its guest restarts, and
// that the next ssh works.
func TestMuxOutlivesAGuest(t *testing.T) {
	t.Parallel()
	w := muxed(t)
	r := w.do("bash", "-c", "ssh train 'echo $PPID; sleep 600' | { read pid; ssh -o ControlPath=none train \"kill -9 $pid\"; cat; }; exit ${PIPESTATUS[0]}")
	if r.Code != 255 {
		t.Errorf("a session whose guest was killed: %s", r)
	}
	if r := w.do("ssh", train, "echo after"); r.Code != 0 || r.Stdout != "after\n" {
		t.Errorf("the next ssh: %s", r)
	}
	w.awaitMux(t)
}
