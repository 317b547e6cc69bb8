package link

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// sshOptions keep the way to a place free of what the user's configuration may
// want for the user's own connections to the same host: forwarded ports would
// collide with those, a forwarded agent would be open to the place's root for as
// long as the way is, and a terminal or command of their own would end the node.
// Everything else of the configuration applies.
var sshOptions = []string{
	"-T", "-a", "-x",
	"-o", "ClearAllForwardings=yes",
	"-o", "RemoteCommand=none",
	"-o", "PermitLocalCommand=no",
	"-o", "EscapeChar=none",
	// What is dead the link finds out by itself, and without ending what only stalls.
	"-o", "ServerAliveInterval=0",
}

// nodeProcess is a process whose standard input and output lead to a node: an
// ssh, or for the local place the node itself.
type nodeProcess struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	conn   net.Conn
	errors *tail
	ended  chan struct{} // closed when the process has been waited for
}

// startProcess starts cmd with its standard streams as pipes to us.
func startProcess(cmd *exec.Cmd) (*nodeProcess, error) {
	in, inOurs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outOurs, out, err := os.Pipe()
	if err != nil {
		in.Close()
		inOurs.Close()
		return nil, err
	}
	api.Widen(inOurs, outOurs)
	p := &nodeProcess{cmd: cmd, out: bufio.NewReaderSize(outOurs, api.ReadAhead), errors: &tail{}, ended: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, p.errors
	cmd.WaitDelay = time.Second // a grandchild may hold stderr open
	err = cmd.Start()
	in.Close()
	out.Close()
	if err != nil {
		inOurs.Close()
		outOurs.Close()
		return nil, err
	}
	p.conn = api.PipeConn(p.out, inOurs, func() error {
		return errors.Join(inOurs.Close(), outOurs.Close())
	})
	go func() { // joined by stop
		defer close(p.ended)
		cmd.Wait()
	}()
	return p, nil
}

// graceOfProcess is how long a process may take to end after its input has.
const graceOfProcess = 3 * time.Second

// stop ends the process and waits for that.
func (p *nodeProcess) stop() {
	p.conn.Close()
	select {
	case <-p.ended:
	case <-time.After(graceOfProcess):
		p.cmd.Process.Kill()
		<-p.ended
	}
}

// tail keeps the end of what is written to it: what an ssh said last is why it
// ended.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// maxTail is how much a tail keeps, in bytes.
const maxTail = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if extra := len(t.buf) - maxTail; extra > 0 {
		t.buf = slices.Delete(t.buf, 0, extra)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// starter starts the processes that lead to places.
type starter struct {
	node     string   // an executable for the local place, or ""; see Config.Node
	askpass  []string // environment that brings ssh's questions back to us
	programs Programs
	options  func(context.Context, keyway.Place) []string // see Config.Options
	asking   func() bool                                  // a question of this ssh is open; nil: there are none
	silence  time.Duration                                // see maxSilence
}

// maxSilence is how long a place may say nothing before it has greeted. An sshd
// gives its clients two minutes to log in; who says nothing for longer has logged
// in and hangs, on a home directory that is away, say. While a person is asked,
// no time passes.
const maxSilence = 3 * time.Minute

// hush is when people hear that a place is waited for.
const hush = 10 * time.Second

// start reaches the place's node and returns when it has greeted. env replaces
// variables of our own environment.
func (s starter) start(ctx context.Context, place keyway.Place, env []string, report func(keyway.Progress)) (*nodeProcess, error) {
	if place == keyway.Local && s.node != "" {
		return s.begin(ctx, place, exec.Command(s.node, "node", "--stdio"), env, report)
	}
	command := localCommand
	if place != keyway.Local {
		env = append(slices.Clone(env), s.askpass...)
		options := slices.Clone(sshOptions)
		if s.options != nil {
			options = append(options, s.options(ctx, place)...)
		}
		command = sshCommand(place, options)
	}
	p, err := s.begin(ctx, place, command(s.bootstrap(false)), env, report)
	if errors.Is(err, errCached) {
		report(keyway.Progress{Message: "the program that " + string(place) + " has kept does not start; sending it again"})
		p, err = s.begin(ctx, place, command(s.bootstrap(true)), env, report)
	}
	return p, err
}

// localCommand runs script here: the local place is a place like any other, less
// the ssh.
func localCommand(script string) *exec.Cmd { return exec.Command("sh", "-c", script) }

// sshCommand gives the command that runs a script at place.
func sshCommand(place keyway.Place, options []string) func(script string) *exec.Cmd {
	return func(script string) *exec.Cmd {
		return exec.Command("ssh", append(slices.Clone(options), "--", string(place), script)...)
	}
}

// bootstrap is the bootstrap's command for the programs that there are.
func (s starter) bootstrap(fresh bool) string {
	return bootstrapCommand(s.programs.hash("amd64"), s.programs.hash("arm64"), fresh)
}

func (s starter) begin(ctx context.Context, place keyway.Place, cmd *exec.Cmd, env []string, report func(keyway.Progress)) (*nodeProcess, error) {
	cmd.Env = append(os.Environ(), env...)
	detach(cmd)
	p, err := startProcess(cmd)
	if err != nil {
		if place == keyway.Local {
			return nil, keyway.Errorf(keyway.EngineAbsent, "workspaces need Linux, and this machine has no sh: %w", err).
				Hint("name a place: --on HOST")
		}
		return nil, keyway.Errorf(keyway.Other, "%s cannot be started: %w", cmd.Path, err).
			Hint("install the OpenSSH client (Debian: apt-get install openssh-client)")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { p.cmd.Process.Kill(); p.conn.Close() })
	watch := s.watch(place, cancel, report)
	err = bootstrap(place, p.out, p.conn, s.programs, watch.heard)
	watch.end()
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		return p, nil
	}
	p.stop()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var user *keyway.Error
	if errors.As(err, &user) && user.Kind != keyway.NoSpace || errors.Is(err, errCached) {
		return nil, err
	}
	if user == nil && errors.Is(err, io.EOF) {
		err = nil // the process says more than that it has ended
	}
	return nil, diagnose(place, p.errors.String(), err)
}

// diagnose says in the user's words why the way to place did not come up, from
// what ssh and the place wrote to standard error. The texts are OpenSSH's; its
// error strings have been stable since 2001, and what is not recognised is
// passed on as it is.
func diagnose(place keyway.Place, stderr string, err error) error {
	has := func(text string) bool { return strings.Contains(stderr, text) }
	last := lastLine(stderr)
	switch {
	case has("REMOTE HOST IDENTIFICATION HAS CHANGED"):
		return hostKeyChanged(place, stderr)
	case has("Host key verification failed") || has("No ED25519 host key is known") || has("host key is known for"):
		return keyway.Errorf(keyway.HostKeyUnknown, "a host on the way to %s is not known yet, and its key was not accepted", place).
			Hint("compare its fingerprint with what its administrator publishes, once: ssh %s true", place)
	case has("Could not resolve hostname"):
		return keyway.Errorf(keyway.UnknownPlace, "there is no host %s: %s", place, last).
			Hint("add it to ~/.ssh/config (Host %s), or name another place: --on PLACE", place)
	case has("Permission denied ("):
		return keyway.Errorf(keyway.Denied, "a host on the way to %s does not accept your key: %s", place, last).
			Hint("see which keys the agent holds: ssh-add -l\nand try by hand: ssh %s true", place)
	case has("Too many authentication failures"):
		return keyway.Errorf(keyway.Denied, "a host on the way to %s gave up after too many keys: %s", place, last).
			Hint("name the right key in ~/.ssh/config: IdentityFile and IdentitiesOnly yes")
	case has("No space left on device") || has("Disk quota exceeded"):
		return keyway.Errorf(keyway.NoSpace, "the disk of %s is full: %s", place, last).
			Hint("see which: ssh %s df -h", place)
	case has("stdio forwarding failed") || has("open failed: connect failed"):
		return keyway.Errorf(keyway.Unreachable, "the jump host answers, but %s behind it does not: %s", place, firstLine(stderr, "open failed")).
			Hint("is %s up? the jump host cannot reach it", place)
	case has("Connection refused") || has("timed out") || has("No route to host") || has("Network is unreachable") || has("Connection closed by") || has("kex_exchange_identification"):
		return keyway.Errorf(keyway.Unreachable, "%s cannot be reached: %s", place, firstLine(stderr, "connect to host")).
			Hint("try each hop by hand: ssh -v %s true", place)
	}
	if err != nil {
		var user *keyway.Error
		if errors.As(err, &user) {
			return user
		}
		return keyway.Errorf(keyway.Other, "%s: %w: %s", place, err, last)
	}
	if last == "" {
		last = "the connection closed without a word"
	}
	return keyway.Errorf(keyway.Unreachable, "%s cannot be reached: %s", place, last).Hint("try by hand: ssh -v %s true", place)
}

// hostKeyChanged names both fingerprints: the one shown, which ssh prints, and
// the ones remembered, in the files that ssh names.
func hostKeyChanged(place keyway.Place, stderr string) error {
	shown := "unknown"
	if i := strings.Index(stderr, "SHA256:"); i >= 0 {
		shown = strings.TrimRight(strings.Fields(stderr[i:])[0], ".")
	}
	file, line := "", ""
	for l := range strings.Lines(stderr) {
		if !strings.HasPrefix(l, "Offending ") {
			continue
		}
		if _, at, ok := strings.Cut(strings.TrimSpace(l), " key in "); ok {
			if i := strings.LastIndexByte(at, ':'); i >= 0 {
				file, line = at[:i], at[i+1:]
			}
		}
	}
	known := knownFingerprint(file, line)
	return keyway.Errorf(keyway.HostKeyChanged, "the host key on the way to %s is not the one it had: it shows %s, but %s is remembered (%s:%s)", place, shown, known, file, line).
		Hint("somebody may be listening in. Ask its administrator whether the key was changed; if so, remove the old one:\nsed -i %sd %s", line, file)
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// firstLine is the first line that holds text, else the last line.
func firstLine(s, text string) string {
	for l := range strings.Lines(s) {
		if strings.Contains(l, text) {
			return strings.TrimSpace(l)
		}
	}
	return lastLine(s)
}
