package link

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/pipe"
)

// nodeProcess is a process whose standard input and output lead to a node: an
// ssh, or for the local place the node itself.
type nodeProcess struct {
	cmd     *exec.Cmd
	out     *bufio.Reader
	conn    net.Conn
	errors  *stderrTail   // what the local node says
	version int           // of the protocol, once the node has greeted
	dial    *sshRun       // of an ssh; nil for the local node
	ended   chan struct{} // closed when the process has been waited for
}

// startProcess starts cmd with its standard streams as pipes to us. The dial
// attempt reads the standard error of its ssh.
func startProcess(cmd *exec.Cmd, d *sshRun) (*nodeProcess, error) {
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
	pipe.Widen(pipe.Widest, inOurs, outOurs)
	p := &nodeProcess{cmd: cmd, out: bufio.NewReaderSize(outOurs, pipe.ReadAhead), errors: &stderrTail{}, dial: d, ended: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, io.Writer(p.errors)
	if d != nil {
		cmd.Stderr = d.words(d.last)
	}
	cmd.WaitDelay = time.Second // a grandchild may hold stderr open
	err = cmd.Start()
	in.Close()
	out.Close()
	if err != nil {
		inOurs.Close()
		outOurs.Close()
		return nil, err
	}
	p.conn = pipe.Conn(p.out, inOurs, func() error {
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

// stop ends the process and its ssh run, and waits for that.
func (p *nodeProcess) stop() {
	p.halt()
	if p.dial != nil {
		p.dial.close()
	}
}

// halt ends the process; what its hops have said is still to be had.
func (p *nodeProcess) halt() {
	p.conn.Close()
	select {
	case <-p.ended:
	case <-time.After(graceOfProcess):
		p.kill()
		<-p.ended
	}
}

// kill ends the process at once, and the ssh to each jump host.
func (p *nodeProcess) kill() {
	select {
	case <-p.ended:
		return // its number may be another's by now
	default:
	}
	if p.dial != nil {
		endSession(p.cmd)
	}
	p.cmd.Process.Kill()
}

// stderrTail keeps the end of what is written to it: what an ssh said last is why it
// ended.
type stderrTail struct {
	mu  sync.Mutex
	buf []byte
}

// maxStderrTail is how much it keeps, in bytes.
const maxStderrTail = 16 << 10

func (t *stderrTail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if extra := len(t.buf) - maxStderrTail; extra > 0 {
		t.buf = slices.Delete(t.buf, 0, extra)
	}
	return len(p), nil
}

func (t *stderrTail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// starter starts the processes that lead to places.
type starter struct {
	program   string   // our own executable
	node      string   // an executable for the local place, or ""; see Config.Node
	runtime   string   // directory for ssh runs
	askpass   []string // environment that brings ssh's questions back to us
	programs  Programs
	options   []string                                       // more for the ssh to the place
	unlimited string                                         // the host to which connecting is limited by us alone; see Route.Unlimited
	connect   time.Duration                                  // that limit; see connectTimeout
	behind    time.Duration                                  // limit of the hosts behind it, each from when it may be spoken with
	commands  []string                                       // see Route.Commands
	known     func(context.Context, string) (files []string) // see Config.KnownHosts
	isHost    func(context.Context, string) bool             // see Config.IsHost
	asking    func() bool                                    // a question of this ssh is open; nil: there are none
	begun     func(*sshRun)                                  // hears of each; may be nil
	heard     func(api.Words)                                // hears what hosts say; may be nil
	silence   time.Duration                                  // see maxSilence
}

// maxSilence is how long a place may say nothing before it has greeted. An sshd
// gives its clients two minutes to log in; who says nothing for longer has logged
// in and hangs, on a home directory that is away, say. While a person is asked,
// no time passes.
const maxSilence = 3 * time.Minute

// connectTimeout is how long the first host on the way may take to answer and to say
// that it is an sshd, unless the user's configuration has a ConnectTimeout. Without one,
// ssh waits for as long as TCP does: over two minutes for a firewall that drops what it
// does not let through. Behind the first host ssh would count the time of logins to the
// ones before, where people may have to answer: there the watch has the same limit, or the
// longest ConnectTimeout on the way.
const connectTimeout = 30 * time.Second

// silenceNotice is the time after which people hear that a place is waited for.
const silenceNotice = 10 * time.Second

// start reaches the place's node and returns when it has greeted. env replaces
// variables of our own environment.
func (s starter) start(ctx context.Context, place keyway.Place, env []string, report func(keyway.Progress)) (*nodeProcess, error) {
	if place == keyway.Local {
		return s.stay(ctx, env, report)
	}
	p, err := s.dial(ctx, place, env, false, report)
	if errors.Is(err, errCached) {
		report(keyway.Progress{Message: "the program that " + string(place) + " has kept does not start; sending it again"})
		p, err = s.dial(ctx, place, env, true, report)
	}
	return p, err
}

// stay starts the node of this machine, or has the bootstrap do so: the local place
// is a place like any other, less the ssh.
func (s starter) stay(ctx context.Context, env []string, report func(keyway.Progress)) (p *nodeProcess, err error) {
	env = append(os.Environ(), env...)
	if s.node != "" {
		cmd := exec.Command(s.node, "node", "--stdio")
		cmd.Env = env
		return s.begin(ctx, keyway.Local, cmd, nil, newMarker(), report)
	}
	for _, fresh := range []bool{false, true} {
		marker := newMarker()
		cmd := exec.Command("sh", "-c", marked(s.bootstrap(fresh), marker))
		cmd.Env = env
		if p, err = s.begin(ctx, keyway.Local, cmd, nil, marker, report); !errors.Is(err, errCached) {
			break
		}
	}
	return p, err
}

// bootstrap is the bootstrap's command for the programs that there are.
func (s starter) bootstrap(fresh bool) string {
	return bootstrapCommand(s.programs.hash("amd64"), s.programs.hash("arm64"), fresh)
}

// dial starts one ssh to the place, with its jump hosts.
func (s starter) dial(ctx context.Context, place keyway.Place, env []string, fresh bool, report func(keyway.Progress)) (*nodeProcess, error) {
	env = slices.Concat(os.Environ(), env, s.askpass)
	path := lookupEnv(env, "PATH")
	ssh, err := sshOnPath(path)
	if err != nil {
		return nil, keyway.Errorf(keyway.Other, "there is no ssh: %w", err).
			Hint("install the OpenSSH client (Debian: apt-get install openssh-client)")
	}
	every := optionsOf(ctx, ssh)
	optionsTo := func(host string) []string {
		if s.unlimited == "" || host != s.unlimited {
			return every
		}
		return slices.Concat(every, []string{"-o", "ConnectTimeout=" + strconv.Itoa(int(s.connect.Seconds()))})
	}
	t, err := newSSHRun(s.runtime, s.program, place, optionsTo, s.heard)
	if err != nil {
		return nil, keyway.Errorf(keyway.BadConfig, "there is no room for the way to %s in %s: %w", place, s.runtime, err)
	}
	marker := newMarker()
	args := slices.Concat([]string{"-E", t.last.log}, optionsTo(string(place)), s.options, []string{"--", string(place),
		marked(s.bootstrap(fresh), marker)})
	cmd := &exec.Cmd{Path: ssh, Args: append([]string{t.name()}, args...), Env: withEnv(env, t.env(ssh, path)...)}
	if s.begun != nil {
		s.begun(t)
	}
	p, err := s.begin(ctx, place, cmd, t, marker, report)
	if err != nil {
		t.close()
	}
	return p, err
}

// begin starts cmd and speaks with it until the node has greeted. t is nil for the
// local place.
func (s starter) begin(ctx context.Context, place keyway.Place, cmd *exec.Cmd, d *sshRun, marker string, report func(keyway.Progress)) (*nodeProcess, error) {
	detach(cmd)
	p, err := startProcess(cmd, d)
	if err != nil {
		if place == keyway.Local {
			return nil, keyway.Errorf(keyway.EngineAbsent, "workspaces need Linux, and this machine has no sh: %w", err).
				Advise(keyway.NamePlace)
		}
		return nil, keyway.Errorf(keyway.Other, "%s cannot be started: %w", cmd.Path, err).
			Hint("install the OpenSSH client (Debian: apt-get install openssh-client)")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { p.kill(); p.conn.Close() })
	watch := s.watch(place, d, cancel, report)
	noise := &stderrTail{}
	p.version, err = bootstrap(place, marker, p.out, p.conn, s.programs, watch.heard, func(line string) { _, _ = io.WriteString(noise, line) })
	watch.end()
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		return p, nil
	}
	p.halt()
	var user *keyway.Error
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.As(err, &user) || errors.Is(err, errCached):
		return nil, err
	case errors.Is(err, io.EOF):
		err = nil // the process says more than that it has ended
	}
	return nil, s.diagnose(ctx, p, place, noise.String(), err)
}

// lookupEnv is the last value of a variable.
func lookupEnv(env []string, name string) string {
	for _, kv := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// sshOnPath finds the ssh of the user's PATH, which need not be the link's.
func sshOnPath(path string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		if found, err := exec.LookPath(filepath.Join(dir, "ssh")); err == nil && filepath.IsAbs(found) {
			return found, nil
		}
	}
	return exec.LookPath("ssh")
}

// optionsOf are the options for every hop, as far as that ssh knows them.
func optionsOf(ctx context.Context, ssh string) []string {
	return slices.Concat(hopOptions, OwnOptions(ctx, ssh), knownOptions(ctx, ssh, newerHopOptions))
}
