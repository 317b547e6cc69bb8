package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"keyway/internal/agent"
	"keyway/internal/audit"
	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/policy"
)

// auditLogName is the audit log's file in the state directory, policyName the
// policy's in that of the configuration.
const (
	auditLogName = "audit.jsonl"
	policyName   = "policy.yaml"
)

// firstInherited is the descriptor of the first socket that a starter hands on.
const firstInherited = 3

// agentGCPercent is GOGC for an agent.
const agentGCPercent = 25

// agentSetup is all that an agent needs but its sockets.
type agentSetup struct {
	config agent.Config
	log    *audit.Log
	parent int

	program     string       // where ours lay when it was started, and a newer one may
	renewAny    bool         // also one that the user can change
	checkPolicy func() error // says why a new agent would not start
	from        *heirloom    // of the agent before; nil: there was none
}

// envHeirloom names the descriptor at which a renewed agent finds what it goes on
// with.
const envHeirloom = "KEYWAY_AGENT_HEIRLOOM"

// prepare reads the policy and opens the log, or says why the agent must not
// start.
func (o *agentOptions) prepare(news io.Writer) (*agentSetup, error) {
	rules, err := openPolicy(o.policy, news)
	if err != nil {
		return nil, err
	}
	path := o.audit
	if path == "" {
		if path, err = statePath(auditLogName); err != nil {
			return nil, err
		}
	}
	log, err := audit.Open(path)
	if err != nil {
		return nil, keyway.Errorf(keyway.BadConfig, "the audit log cannot be opened: %w", err).
			Hint("an agent that cannot log does not start; say where it can: keyway agent -O audit=PATH")
	}
	s := &agentSetup{log: log, parent: o.parent, renewAny: o.renewAny, checkPolicy: rules.check}
	if s.program, err = os.Executable(); err != nil {
		return nil, err
	}
	s.config = agent.Config{
		Policy: rules.current, Log: log, Hosts: knownHostNames(rules.current).lookup, Askers: []agent.Asker{agent.Pinentry{}, agent.Askpass{}},
		Providers: o.providers, Lifetime: o.life,
		Upstream: func() string { return inHome(rules.current().Upstream()) },
	}
	if home, err := os.UserHomeDir(); err == nil {
		s.config.CertDirs = []string{filepath.Join(home, ".ssh")}
	}
	if o.upstream != "" {
		s.config.Upstream = func() string { return o.upstream }
	}
	rules.changed = func(reason string) {
		if err := log.Append(audit.Event{Event: "policy", Reason: reason}); err != nil {
			fmt.Fprintf(news, "keyway agent: %v\n", err)
		}
	}
	if o.foreground {
		s.askAtTerminal()
	}
	if o.debug {
		var mu sync.Mutex
		s.config.Logf = func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(news, "keyway agent: "+format+"\n", args...)
		}
	}
	return s, nil
}

// askAtTerminal has the agent ask at the terminal that it runs on, if there is one.
func (s *agentSetup) askAtTerminal() {
	tty, err := openTerminal()
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

// inHome is path with a leading ~ replaced.
func inHome(path string) string {
	rest, ok := strings.CutPrefix(path, "~/")
	home, err := os.UserHomeDir()
	if !ok || err != nil {
		return path
	}
	return filepath.Join(home, rest)
}

func statePath(name string) (string, error) {
	dir, err := dirs.State()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, name), nil
}

// serveInherited is the background process's life.
func (o *agentOptions) serveInherited(ctx context.Context) error {
	sockets := &agentSockets{path: o.socket, forward: o.forward}
	defer sockets.remove()
	setup, err := o.prepare(io.Discard)
	if err != nil {
		return err
	}
	if err := sockets.open(); err != nil {
		return err
	}
	return setup.serve(ctx, sockets)
}

// serveInheritance goes on where the agent before this process was renewed.
func (o *agentOptions) serveInheritance(ctx context.Context, from *heirloom, news io.Writer) error {
	sockets, err := from.sockets()
	if err != nil {
		return err
	}
	defer sockets.remove()
	setup, err := o.prepare(news)
	if err != nil {
		return err
	}
	setup.from = from
	return setup.serve(ctx, sockets)
}

// serve answers until a signal, or until the parent that the agent is for ends.
func (s *agentSetup) serve(ctx context.Context, sockets *agentSockets) error {
	defer s.log.Close()
	agent.TrimProcess()
	if err := agent.HardenProcess(); err != nil {
		return keyway.Errorf(keyway.Other, "the agent's memory cannot be kept from other programs: %w", err)
	}
	// It lives all day and does little: less memory is worth more than fewer
	// collections, which also overwrite what keys left on the heap sooner.
	debug.SetGCPercent(agentGCPercent)
	debug.FreeOSMemory()
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
func (s *agentSetup) begin(a *agent.Agent) {
	start := audit.Event{Event: "start", PID: os.Getpid(), Reason: "keyway " + keyway.Version}
	if s.from != nil {
		start.Event = "renew"
		conns := s.from.conns
		err := a.TakeOver(s.from.state, conns)
		clear(s.from.state)
		s.from = nil
		if err != nil {
			start.Verdict, start.Reason = "failed", err.Error()
			a.Forget("what was handed over cannot be read")
			for _, c := range conns {
				c.Close()
			}
		}
	}
	_ = s.log.Append(start)
}

// answer returns when ctx ends, the agent's parent has ended, a listener fails, or
// the agent is frozen.
func (s *agentSetup) answer(ctx context.Context, a *agent.Agent, sockets *agentSockets, renewals <-chan os.Signal) error {
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

// parentCheck is how often the agent of a command looks whether it still runs.
const parentCheck = time.Second

// awaitOrphan is true when the process is no longer our parent, false if ctx ended
// first.
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

// policyFile is a policy that follows its file. A file that is wrong at the start
// is an error; one that becomes wrong leaves the last good policy in force.
type policyFile struct {
	path    string // empty: the policy does not change
	news    io.Writer
	changed func(reason string)

	mu     sync.Mutex
	policy *policy.Policy
	stamp  string
}

func openPolicy(what string, news io.Writer) (*policyFile, error) {
	switch what {
	case "openssh":
		return &policyFile{policy: policy.OpenSSH()}, nil
	case "standard":
		return &policyFile{policy: policy.Standard()}, nil
	}
	f := &policyFile{path: what, news: news}
	if what == "" {
		dir, err := dirs.Config()
		if err != nil {
			return nil, err
		}
		f.path = filepath.Join(dir, policyName)
	} else if _, err := os.Stat(what); err != nil {
		return nil, keyway.Errorf(keyway.BadConfig, "the policy cannot be read: %w", err).Hint("-O policy= takes openssh, standard or the path of a file")
	}
	f.stamp = stampOf(f.path)
	var err error
	if f.policy, err = policy.Read(f.path); err != nil {
		return nil, badPolicy(err)
	}
	return f, nil
}

func badPolicy(err error) error {
	return keyway.Errorf(keyway.BadConfig, "the policy is wrong: %w", err).Hint("mend it and look again: keyway policy check")
}

// check says whether the file could be read at a start.
func (f *policyFile) check() error {
	if f.path == "" {
		return nil
	}
	_, err := policy.Read(f.path)
	return err
}

// stampOf changes when the file does.
func stampOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
}

// current is the policy that holds now.
func (f *policyFile) current() *policy.Policy {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path == "" {
		return f.policy
	}
	stamp := stampOf(f.path)
	if stamp == f.stamp {
		return f.policy
	}
	f.stamp = stamp
	reason := "read anew: " + f.path
	if p, err := policy.Read(f.path); err != nil {
		reason = "the last good policy stays: " + err.Error()
		fmt.Fprintf(f.news, "keyway agent: %s\n", reason)
	} else {
		f.policy = p
	}
	if f.changed != nil {
		f.changed(reason)
	}
	return f.policy
}
