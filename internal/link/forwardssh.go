package link

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
	"keyway/internal/sleep"
)

const (
	maxPort = 65535
	// maxSocket is the longest path of a unix socket, in bytes (unix(7)).
	maxSocket = 107
	// localPorts is the number of ports of this machine that are tried for a forward.
	localPorts = 20
	// firstOwn and lastOwn bound the ports that are tried if the workspace's port number is taken
	// here. They are below those that Linux, macOS and Windows use for outgoing connections.
	firstOwn, lastOwn = 20_000, 32_000
	// look is the interval at which the link checks whether an ssh listens.
	look = 20 * time.Millisecond
	// longestPause bounds the time between two starts of an ssh that keeps ending.
	longestPause = 10 * time.Second
	// maxForwardLog bounds the bytes of an ssh's log file; tidy is the interval at which its size
	// is checked.
	maxForwardLog = 64 << 10
	tidy          = time.Minute
)

// goodSocket matches paths without characters that have a meaning to ssh or its -L.
var goodSocket = lazyregexp.New(`^/[A-Za-z0-9._/+=,-]+$`)

// errPortTaken means that another program has the local port.
var errPortTaken = errors.New("the port is taken")

// candidates returns the local ports for a forward, best first. They are always the same for the
// same forward.
func (k forwardKey) candidates() []int {
	if k.local != 0 {
		return []int{k.local}
	}
	var ports []int
	if k.port >= 1024 {
		ports = append(ports, k.port)
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(string(k.place) + "\x00" + string(k.name) + "\x00" + strconv.Itoa(k.port) + k.socket))
	for i := range uint32(localPorts - len(ports)) {
		ports = append(ports, firstOwn+int((h.Sum32()+i)%(lastOwn-firstOwn)))
	}
	return ports
}

// forwardArgs returns ssh's arguments for a forward to the workspace's localhost, which the guest
// resolves, or to a socket in it, with more options. ssh writes its own messages to log.
func forwardArgs(k forwardKey, local int, log string, more []string) []string {
	to := "localhost:" + strconv.Itoa(k.port)
	if k.socket != "" {
		to = k.socket
	}
	args := []string{"-N", "-T", "-a", "-x", "-E", log}
	for _, o := range []string{
		"BatchMode=yes", "LogLevel=DEBUG1", "GatewayPorts=no", "ControlMaster=no", "ControlPath=none", "ExitOnForwardFailure=no",
	} {
		args = append(args, "-o", o)
	}
	args = append(args, more...)
	return append(args, "-L", "127.0.0.1:"+strconv.Itoa(local)+":"+to, "--", string(k.name))
}

// listens interprets the messages of an ssh at LogLevel DEBUG1: whether it listens on the local
// port, or the port is taken. ssh names the port before it binds it, and afterwards reports a
// channel for a listening socket.
func listens(lines []string, local int) (up, taken bool) {
	port := strconv.Itoa(local)
	for i, l := range lines {
		if l != "debug1: Local forwarding listening on 127.0.0.1 port "+port+"." {
			continue
		}
		for _, next := range lines[i+1:] {
			switch {
			case strings.HasPrefix(next, "debug1: channel ") && strings.Contains(next, "[port listener]"):
				return true, false
			case strings.HasPrefix(next, "bind [") || strings.HasPrefix(next, "listen") || strings.HasPrefix(next, "channel_setup_fwd_listener_tcpip: cannot listen"):
				return false, true
			}
		}
	}
	return false, false
}

// forwardRun runs the ssh of a forward.
type forwardRun struct {
	f   *forward
	dir string   // for files of ssh
	env []string // replaces variables of the link's environment
	log *slog.Logger
}

// run returns when ctx ends, or with the reason for which the forward is impossible.
func (r forwardRun) run(ctx context.Context) error {
	p, err := r.first(ctx)
	if err != nil {
		return err
	}
	for pause := time.Duration(0); ; {
		r.f.become(ForwardState{Local: p.local, Up: true})
		r.log.Info("forward up", "workspace", r.f.key.name, "port", r.f.key.port, "socket", r.f.key.socket, "local", p.local)
		since := time.Now()
		err := p.wait(ctx)
		if time.Since(since) > longestPause {
			pause = 0
		}
		for local := p.local; err != nil; {
			if ctx.Err() != nil {
				return nil
			}
			r.log.Info("forward down", "workspace", r.f.key.name, "port", r.f.key.port, "socket", r.f.key.socket, "error", err)
			r.f.become(ForwardState{Local: local, Why: keyway.AsError(err).Message})
			if err = sleep.For(ctx, pause); err == nil {
				p, err = r.start(ctx, local)
			}
			pause = min(2*pause+100*time.Millisecond, longestPause)
		}
	}
}

// first starts an ssh on the first free local port.
func (r forwardRun) first(ctx context.Context) (*forwardSSH, error) {
	for _, local := range r.f.key.candidates() {
		p, err := r.start(ctx, local)
		if !errors.Is(err, errPortTaken) {
			return p, err
		}
	}
	if local := r.f.key.local; local != 0 {
		return nil, keyway.Errorf(keyway.Other, "another program has port %d of this machine", local).
			Advise(keyway.OtherPort)
	}
	return nil, keyway.Errorf(keyway.Other, "no port of this machine is free for %s", r.f.key.name)
}

// forwardSSH is a running ssh that listens.
type forwardSSH struct {
	local int
	cmd   *exec.Cmd
	log   string        // its log file
	ended chan struct{} // closed when the process has been waited for
}

// start starts an ssh and returns when it listens on the local port.
func (r forwardRun) start(ctx context.Context, local int) (*forwardSSH, error) {
	f, err := os.CreateTemp(r.dir, runPrefix+"*.log")
	if err != nil {
		return nil, err
	}
	f.Close()
	env := slices.Concat(os.Environ(), r.env)
	ssh, err := sshOnPath(lookupEnv(env, "PATH"))
	if err != nil {
		os.Remove(f.Name())
		return nil, keyway.Errorf(keyway.Other, "there is no ssh: %w", err)
	}
	p := &forwardSSH{local: local, log: f.Name(), ended: make(chan struct{})}
	p.cmd = exec.Command(ssh, forwardArgs(r.f.key, local, p.log, forwardingOptions(ctx, ssh))...)
	p.cmd.Env = env
	detach(p.cmd)
	if err := p.cmd.Start(); err != nil {
		os.Remove(p.log)
		return nil, keyway.Errorf(keyway.Other, "ssh cannot be started: %w", err)
	}
	go func() { // joined by stop
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	if err := p.listening(ctx); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// listening returns when the ssh listens.
func (p *forwardSSH) listening(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		gone := isClosed(p.ended)
		switch up, taken := listens(p.own(), p.local); {
		case taken:
			return errPortTaken
		case gone:
			return p.reason()
		case up:
			return nil
		}
		select {
		case <-tick.C:
		case <-p.ended:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// wait returns when the ssh has ended, with the reason. It keeps the log file small.
func (p *forwardSSH) wait(ctx context.Context) error {
	defer p.stop()
	tick := time.NewTicker(tidy)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if info, err := os.Stat(p.log); err == nil && info.Size() > maxForwardLog {
				_ = os.Truncate(p.log, 0) // ssh appends to it
			}
		case <-p.ended:
			return p.reason()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// stop ends the ssh and waits for its end.
func (p *forwardSSH) stop() {
	_ = p.cmd.Process.Kill()
	<-p.ended
	os.Remove(p.log)
}

func (p *forwardSSH) own() []string { return (&hop{log: p.log}).own() }

// reason returns the error with which the ssh has ended, in its own words.
func (p *forwardSSH) reason() error {
	s := readState(slices.DeleteFunc(p.own(), func(l string) bool { return strings.HasPrefix(l, "debug1: ") }))
	switch {
	case s.fault == refused:
		return keyway.Errorf(keyway.Denied, "the workspace accepts no key of yours").Advise(keyway.IsKeyUnlocked)
	case s.detail != "":
		return keyway.Errorf(keyway.Unreachable, "ssh says: %s", brief(s.detail))
	case s.said != "":
		return keyway.Errorf(keyway.Unreachable, "ssh was told: %s", brief(s.said))
	}
	return keyway.Errorf(keyway.Unreachable, "ssh has ended")
}
