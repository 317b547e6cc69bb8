package link

import (
	"bufio"
	"cmp"
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

// nodeProcess is a process whose standard input and output lead to a node: an ssh, or the node
// itself for the local place.
type nodeProcess struct {
	cmd     *exec.Cmd
	out     *bufio.Reader
	conn    net.Conn
	errors  *stderrTail   // the output of the local node
	version int           // of the protocol, once the node has greeted
	dial    *sshRun       // of an ssh; nil for the local node
	ended   chan struct{} // closed when the process has been waited for
}

// startProcess starts cmd with pipes for its standard input and output. The ssh run reads the
// standard error of its ssh.
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
	cmd.WaitDelay = time.Second // a descendant may hold stderr open
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

// graceOfProcess is the time for a process to end after its input has ended.
const graceOfProcess = 3 * time.Second

// stop ends the process and its ssh run, and waits for both.
func (p *nodeProcess) stop() {
	p.halt()
	if p.dial != nil {
		p.dial.close()
	}
}

// halt ends the process. The messages of the hops remain readable.
func (p *nodeProcess) halt() {
	p.conn.Close()
	select {
	case <-p.ended:
	case <-time.After(graceOfProcess):
		p.kill()
		<-p.ended
	}
}

// kill kills the process, and the ssh to each jump host.
func (p *nodeProcess) kill() {
	select {
	case <-p.ended:
		return // its pid may belong to another process by now
	default:
	}
	if p.dial != nil {
		endSession(p.cmd)
	}
	p.cmd.Process.Kill()
}

// stderrTail keeps the end of its input: the last messages of an ssh explain why it ended.
type stderrTail struct {
	mu  sync.Mutex
	buf []byte
}

// maxStderrTail is the number of bytes that it keeps.
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
	program   string   // this executable
	node      string   // an executable for the local place, or ""; see Config.Node
	runtime   string   // directory for ssh runs
	askpass   []string // environment that directs ssh's questions to the link
	programs  Programs
	options   []string                                       // additional options for the ssh to the place
	unlimited string                                         // the host to which only keyway limits the time for connecting; see Route.Unlimited
	connect   time.Duration                                  // that limit; see connectTimeout
	behind    time.Duration                                  // the limit for each host behind it, from the time at which it can be reached
	commands  []string                                       // see Route.Commands
	known     func(context.Context, string) (files []string) // see Config.KnownHosts
	isHost    func(context.Context, string) bool             // see Config.IsHost
	asking    func() bool                                    // reports whether a question of this ssh is open; nil: it asks none
	begun     func(*sshRun)                                  // called with each run; may be nil
	heard     func(api.Words)                                // called with hosts' words; may be nil
	agent     func() string                                  // see uplink.silentAgent; may be nil
	silence   time.Duration                                  // see maxSilence
}

// maxSilence bounds the silence of a place before its greeting. An sshd gives clients two minutes
// to log in; a client that hears nothing for longer has logged in and hangs, for example on a home
// directory that does not answer. While the user is asked, the time does not count.
const maxSilence = 3 * time.Minute

// connectTimeout bounds the time for the first host on the route to answer and to identify itself
// as an sshd, unless the user's configuration sets a ConnectTimeout. Without one, ssh waits as long
// as TCP does: over two minutes for a firewall that drops packets. For hosts behind the first, ssh
// would count the time of the logins before them, in which the user may have to answer. There the
// watch applies the same limit, or the longest ConnectTimeout on the route.
const connectTimeout = 30 * time.Second

const (
	// leastConnectTimeout is the shortest time for connecting to one of a machine's addresses.
	leastConnectTimeout = 5 * time.Second
	// lookupTime bounds the time in which the link looks the addresses up.
	lookupTime = time.Second
)

// timeToConnect returns the time for connecting to each address of the first machine on the route.
// ssh tries them one after the other, and the network may drop packets to the first, as where only
// IPv4 works. Together, they have connectTimeout.
func timeToConnect(ctx context.Context, route Route) time.Duration {
	host, _, err := net.SplitHostPort(route.FirstHop)
	if err != nil || route.Unlimited == "" {
		return connectTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	addresses, _ := net.DefaultResolver.LookupHost(ctx, host) // without an answer, ssh may know more
	return timeForEach(len(addresses))
}

func timeForEach(addresses int) time.Duration {
	return max(connectTimeout/time.Duration(max(addresses, 1)), leastConnectTimeout).Truncate(time.Second)
}

// silenceNotice is the time after which the user is told that a place has not answered.
const silenceNotice = 10 * time.Second

// start connects to the place's node and returns when it has greeted. env replaces variables of
// this process's environment.
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

// stay starts this machine's node, directly or by the bootstrap. Apart from the missing ssh, the
// local place is like any other.
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

// bootstrap returns the bootstrap's command for the available programs.
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
	optionsTo := func(host, ssh string) []string {
		options := optionsOf(ctx, ssh)
		if s.unlimited != "" && host == s.unlimited {
			options = append(options, "-o", "ConnectTimeout="+strconv.Itoa(int(s.connect.Seconds())))
		}
		return options
	}
	shell := ""
	if len(s.commands) > 0 {
		shell = cmp.Or(lookupEnv(env, "SHELL"), "/bin/sh") // as ssh
	}
	t, err := newSSHRun(s.runtime, s.program, place, optionsTo, s.heard)
	if err != nil {
		return nil, keyway.Errorf(keyway.BadConfig, "there is no room for the ssh run to %s in %s: %w", place, s.runtime, err)
	}
	t.agent = s.agent
	marker := newMarker()
	args := slices.Concat([]string{"-E", t.last.log}, optionsTo(string(place), ssh), s.options, []string{"--", string(place),
		marked(s.bootstrap(fresh), marker)})
	cmd := &exec.Cmd{Path: ssh, Args: append([]string{t.name()}, args...), Env: withEnv(env, t.env(ssh, path, shell)...)}
	if s.begun != nil {
		s.begun(t)
	}
	p, err := s.begin(ctx, place, cmd, t, marker, report)
	if err != nil {
		t.close()
	}
	return p, err
}

// begin starts cmd and speaks with it until the node has greeted. d is nil for the local place.
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
	p.version, err = bootstrap{place, marker, s.programs, watch.heard, func(line string) { _, _ = io.WriteString(noise, line) }}.greeted(p.out, p.conn)
	watch.end()
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		return p, nil
	}
	p.halt()
	if d != nil { // its output may be closed, too
		if _, closed, ok := strings.Cut(d.last.said.String(), marker+" closed "); ok {
			descriptors, _, _ := strings.Cut(closed, "\n")
			return nil, bootstrap{place: place}.closed(descriptors)
		}
	}
	var user *keyway.Error
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.As(err, &user) || errors.Is(err, errCached):
		return nil, err
	case errors.Is(err, io.EOF):
		err = nil // the process has said more than that
	}
	return nil, s.diagnose(ctx, p, place, noise.String(), err)
}

// lookupEnv returns the last value of a variable.
func lookupEnv(env []string, name string) string {
	for _, kv := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// sshOnPath returns the ssh on the user's PATH, which may differ from the link's.
func sshOnPath(path string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		if found, err := exec.LookPath(filepath.Join(dir, "ssh")); err == nil && filepath.IsAbs(found) {
			return found, nil
		}
	}
	return exec.LookPath("ssh")
}

// optionsOf returns the options for every hop, as far as that ssh knows them.
func optionsOf(ctx context.Context, ssh string) []string {
	return slices.Concat(hopOptions, noForwards, forwardingOptions(ctx, ssh), knownOptions(ctx, ssh, newerHopOptions))
}
