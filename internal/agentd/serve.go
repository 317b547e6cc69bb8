// Package agentd is the process around the agent: its sockets, its policy file, its memory, and its
// replacement by a newer program. What the agent answers is decided in package agent. Begin with
// Run.
package agentd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/agent"
	"keyway/internal/audit"
	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/memory"
	"keyway/internal/policy"
)

// firstInherited is the descriptor of the first socket that a starter hands on.
const firstInherited = 3

// gcPercent is GOGC for an agent.
const gcPercent = 25

// Options say how an agent runs.
type Options struct {
	// Socket is the path of the socket; empty: a new one, as with ssh-agent. Forward is the
	// path of the socket whose clients count as remote; empty: none.
	Socket, Forward string
	// Inherited means that Start of another process has opened the sockets.
	Inherited bool

	Policy    string        // openssh, standard, or the path of a file; empty: dirs.Policy
	Audit     string        // the path of the log; empty: dirs.AuditLog
	Upstream  string        // the path of another agent's socket; empty: the policy's
	Providers []string      // patterns of the libraries that may be loaded
	Lifetime  time.Duration // of keys that are added without one; 0: until the agent ends
	Parent    int           // the process to end with; 0: none
	RenewAny  bool          // a newer program may take over even if the user can change it

	// Hosts is given the policy in force and returns how hosts are called by their
	// keys; nil: no host has a name.
	Hosts func(rules func() *policy.Policy) func(ssh.PublicKey) policy.Host
	// Terminal opens the terminal at which the agent asks; nil: it has none.
	Terminal func() (*os.File, error)
	// Ready is called with the socket's path when the agent is about to serve. It may be nil.
	Ready func(socket string)
	News  io.Writer // messages for the user
	Debug bool      // News gets what happens, too
}

// Start checks that an agent with the options can run, opens its sockets, and has the
// command that is made for them run it in the background, with Inherited set. It
// returns the path of the socket and the process.
func Start(o Options, command func(socket, forward string) *exec.Cmd) (string, *os.Process, error) {
	s, err := prepare(o)
	if err != nil {
		return "", nil, err
	}
	defer s.log.Close()
	sockets, err := open(o)
	if err != nil {
		return "", nil, err
	}
	process, err := sockets.handTo(command(sockets.path, sockets.forward))
	if err != nil {
		sockets.remove()
		return "", nil, keyway.Errorf(keyway.Other, "the agent cannot be started: %w", err)
	}
	return sockets.path, process, nil
}

// Run runs an agent until ctx ends, a signal arrives, or the parent ends. A process that was an
// older agent (Renewed) continues with that agent's state.
func Run(ctx context.Context, o Options) error {
	from, err := inherit()
	if err != nil {
		return err
	}
	var sockets *socketSet
	switch {
	case from != nil:
		if sockets, err = from.sockets(); err != nil {
			return err
		}
	case o.Inherited:
		sockets = &socketSet{path: o.Socket, forward: o.Forward}
	}
	if sockets != nil {
		defer sockets.remove()
	}
	s, err := prepare(o)
	if err != nil {
		return err
	}
	s.from = from
	switch {
	case sockets == nil:
		if sockets, err = open(o); err != nil {
			return err
		}
		defer sockets.remove()
	case from == nil:
		if err := sockets.open(); err != nil {
			return err
		}
	}
	if o.Ready != nil && from == nil {
		o.Ready(sockets.path)
	}
	return s.serve(ctx, sockets)
}

// open opens the sockets, or takes those of systemd.
func open(o Options) (*socketSet, error) {
	sockets, err := activated()
	if sockets != nil || err != nil {
		return sockets, err
	}
	return listen(o.Socket, o.Forward)
}

// setup is all that an agent needs but its sockets.
type setup struct {
	config agent.Config
	log    *audit.Log
	parent int

	program     string       // where ours lay when it was started, and a newer one may
	renewAny    bool         // also one that the user can change
	checkPolicy func() error // returns why a new agent would not start
	from        *takenOver   // of the agent before; nil: there was none
}

// prepare reads the policy and opens the log, or returns why the agent must not start.
func prepare(o Options) (*setup, error) {
	rules, err := openPolicy(o.Policy, o.News)
	if err != nil {
		return nil, err
	}
	log, err := openLog(o.Audit)
	if err != nil {
		return nil, err
	}
	s := &setup{log: log, parent: o.Parent, renewAny: o.RenewAny, checkPolicy: rules.check}
	if s.program, err = os.Executable(); err != nil {
		return nil, err
	}
	s.config = agent.Config{
		Policy: rules.current, Log: log, Askers: []agent.Asker{agent.Pinentry{}, agent.Askpass{}},
		Providers: o.Providers, Lifetime: o.Lifetime,
		Upstream: func() string { return inHome(rules.current().Upstream()) },
	}
	if o.Hosts != nil {
		s.config.Hosts = o.Hosts(rules.current)
	}
	if home, err := os.UserHomeDir(); err == nil {
		s.config.CertDirs = []string{filepath.Join(home, ".ssh")}
	}
	if o.Upstream != "" {
		s.config.Upstream = func() string { return o.Upstream }
	}
	rules.changed = func(reason string) {
		if err := log.Append(audit.Event{Event: audit.Policy, Reason: reason}); err != nil {
			fmt.Fprintf(o.News, "keyway agent: %v\n", err)
		}
	}
	if o.Terminal != nil {
		s.askAt(o.Terminal)
	}
	if o.Debug {
		var mu sync.Mutex
		s.config.Logf = func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(o.News, "keyway agent: "+format+"\n", args...)
		}
	}
	return s, nil
}

func openLog(path string) (*audit.Log, error) {
	if path == "" {
		var err error
		if path, err = dirs.AuditLog(); err != nil {
			return nil, err
		}
	}
	log, err := audit.Open(path)
	if err != nil {
		return nil, keyway.Errorf(keyway.BadConfig, "the audit log cannot be opened: %w", err).
			Advise(keyway.LogElsewhere)
	}
	return log, nil
}

// askAt makes the agent ask at a terminal, if there is one.
func (s *setup) askAt(terminal func() (*os.File, error)) {
	tty, err := terminal()
	if err != nil {
		return
	}
	t, err := agent.NewTerminal(tty)
	if err != nil {
		tty.Close()
		return
	}
	s.config.Askers = append(s.config.Askers, t) // it stays open as long as the agent runs
}

// inHome returns path with a leading ~ expanded.
func inHome(path string) string {
	rest, ok := strings.CutPrefix(path, "~/")
	home, err := os.UserHomeDir()
	if !ok || err != nil {
		return path
	}
	return filepath.Join(home, rest)
}

// serve answers until a signal, or until the parent that the agent is for ends.
func (s *setup) serve(ctx context.Context, sockets *socketSet) error {
	defer s.log.Close()
	// Before it can get a key. Where the state directory cannot be written, only the commands
	// of this environment find the agent.
	sockets.ended, _ = dirs.RecordAgent(sockets.path)
	// It lives all day and does little: less memory is worth more than fewer collections, and
	// frequent ones overwrite remains of keys on the heap sooner.
	debug.SetGCPercent(gcPercent)
	memory.Release() // before its map is closed to itself, too
	if err := agent.HardenProcess(); err != nil {
		return keyway.Errorf(keyway.Other, "the agent's memory cannot be kept from other programs: %w", err)
	}
	a := agent.New(s.config)
	s.begin(a)
	ctx, stop := signal.NotifyContext(ctx, endSignals...)
	defer stop()
	renewals := make(chan os.Signal, 1)
	if renewSignal != nil {
		signal.Notify(renewals, renewSignal)
		defer signal.Stop(renewals)
	}
	for {
		err := s.answer(ctx, a, sockets, renewals)
		if !a.Frozen() || ctx.Err() != nil {
			a.Forget("the agent ends")
			return err
		}
		s.notRenewed(s.renew(a, sockets))
		a.Thaw()
	}
}

// begin takes over from an agent before, if there was one.
func (s *setup) begin(a *agent.Agent) {
	start := audit.Event{Event: audit.Start, Reason: "keyway " + keyway.Version, Request: audit.Request{PID: os.Getpid()}}
	if s.from != nil {
		start.Event = audit.Renew
		conns := s.from.conns
		err := a.TakeOver(s.from.state, conns)
		clear(s.from.state)
		s.from = nil
		if err != nil {
			start.Verdict, start.Reason = audit.Failed, err.Error()
			a.Forget("the state that was handed over cannot be read")
			for _, c := range conns {
				c.Close()
			}
		}
	}
	_ = s.log.Append(start)
}

// answer returns when ctx ends, the agent's parent has ended, a listener fails, or
// the agent is frozen.
func (s *setup) answer(ctx context.Context, a *agent.Agent, sockets *socketSet, renewals <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var serving, helping sync.WaitGroup
	errs := make([]error, len(sockets.listeners))
	for i, l := range sockets.listeners {
		serving.Go(func() {
			if errs[i] = a.Serve(ctx, l, i > 0); !a.Frozen() {
				cancel()
			}
		})
	}
	serving.Go(func() { a.Resume(ctx) })
	helpers, end := context.WithCancel(ctx)
	defer end()
	helping.Go(func() { a.Watch(helpers) })
	helping.Go(func() { forgetOnSignal(helpers, a) })
	helping.Go(func() { tidyMemory(helpers) })
	helping.Go(func() { s.renewOnSignal(helpers, a, renewals) })
	if s.parent > 0 {
		helping.Go(func() {
			if awaitOrphan(helpers, s.parent) {
				cancel()
			}
		})
	}
	serving.Wait()
	end()
	helping.Wait()
	return errors.Join(errs...)
}

func forgetOnSignal(ctx context.Context, a *agent.Agent) {
	if forgetSignal == nil {
		return
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, forgetSignal)
	defer signal.Stop(c)
	for {
		select {
		case <-c:
			a.Forget("SIGUSR1")
		case <-ctx.Done():
			return
		}
	}
}

// parentCheck is the interval at which the agent of a command checks whether the command still
// runs.
const parentCheck = time.Second

// awaitOrphan waits until the parent has ended. It returns false if ctx ended first.
func awaitOrphan(ctx context.Context, parent int) bool {
	tick := time.NewTicker(parentCheck)
	defer tick.Stop()
	for os.Getppid() == parent {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
