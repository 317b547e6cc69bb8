package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/agent"
	"keyway/internal/audit"
	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/policy"
	"keyway/internal/unixsock"
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
}

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
	s := &agentSetup{log: log, parent: o.parent}
	s.config = agent.Config{
		Policy: rules.current, Log: log, Hosts: knownHostNames(), Askers: []agent.Asker{agent.Pinentry{}, agent.Askpass{}},
		Providers: o.providers, Lifetime: o.life,
		Upstream: func() string { return inHome(rules.current().Upstream()) },
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
	for i, path := range sockets.paths() {
		f := os.NewFile(uintptr(firstInherited+i), path)
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return err
		}
		sockets.listeners = append(sockets.listeners, l)
	}
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
	ctx, stop := signal.NotifyContext(ctx, endSignals...)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.log.Append(audit.Event{Event: "start", PID: os.Getpid(), Reason: "keyway " + keyway.Version})
	var wg sync.WaitGroup
	errs := make([]error, len(sockets.listeners))
	for i, l := range sockets.listeners {
		wg.Go(func() {
			defer cancel()
			errs[i] = a.Serve(ctx, l, i > 0)
		})
	}
	wg.Go(func() { a.Watch(ctx) })
	wg.Go(func() { forgetOnSignal(ctx, a) })
	wg.Go(func() { tidyMemory(ctx) })
	if s.parent > 0 {
		wg.Go(func() { defer cancel(); awaitOrphan(ctx, s.parent) })
	}
	wg.Wait()
	a.Forget("the agent ends")
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

// awaitOrphan returns when the process is no longer our parent.
func awaitOrphan(ctx context.Context, parent int) {
	tick := time.NewTicker(parentCheck)
	defer tick.Stop()
	for os.Getppid() == parent {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// agentSockets are where an agent listens: the first for this machine, the
// second, if there is one, for forwarding.
type agentSockets struct {
	path, forward string
	directory     string // made for the first; empty: the user named it
	listeners     []net.Listener
}

func (s *agentSockets) paths() []string {
	if s.forward == "" {
		return []string{s.path}
	}
	return []string{s.path, s.forward}
}

// listenAsAgent listens at path, or at a new one in a directory of its own as
// ssh-agent does.
func listenAsAgent(path, forward string) (*agentSockets, error) {
	s := &agentSockets{path: path, forward: forward}
	if path == "" {
		dir, err := os.MkdirTemp("", socketDirectory)
		if err != nil {
			return nil, keyway.Errorf(keyway.Other, "there is no directory for the socket: %w", err)
		}
		s.directory, s.path = dir, filepath.Join(dir, fmt.Sprintf("agent.%d", os.Getpid()))
	}
	for _, p := range s.paths() {
		l, err := unixsock.Listen(p, 0o600)
		if err != nil {
			s.remove()
			return nil, keyway.Errorf(keyway.Other, "the agent cannot listen at %s: %w", p, err)
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

// socketDirectory is how the directories that listenAsAgent makes are called.
const socketDirectory = "ssh-keyway-*"

// files are the listeners as descriptors for another process.
func (s *agentSockets) files() ([]*os.File, error) {
	var files []*os.File
	for _, l := range s.listeners {
		f, err := l.(*net.UnixListener).File()
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// remove removes the sockets' files, and the directory that was made for them.
func (s *agentSockets) remove() {
	for _, l := range s.listeners {
		l.Close()
	}
	for _, p := range s.paths() {
		os.Remove(p)
	}
	dir := filepath.Dir(s.path)
	if strings.HasPrefix(filepath.Base(dir), strings.TrimSuffix(socketDirectory, "*")) {
		os.Remove(dir) // only if it is empty
	}
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

// hostKeyNames are the names of hosts by the fingerprints of their keys, from
// known_hosts files that are read anew when they change.
type hostKeyNames struct {
	files []knownHostsFile

	mu          sync.Mutex
	stamps      string
	hosts       map[string]policy.Host
	authorities map[string][]string // fingerprint → patterns of names
}

type knownHostsFile struct {
	path  string
	group string
}

// maxKnownHosts bounds a known_hosts file in bytes.
const maxKnownHosts = 8 << 20

// knownHostNames tells what the user calls the host with a key.
func knownHostNames() func(ssh.PublicKey) policy.Host {
	return (&hostKeyNames{files: knownHostsFiles()}).lookup
}

// knownHostsFiles are keyway's own, the user's and the system's.
func knownHostsFiles() (files []knownHostsFile) {
	if path, err := statePath("known_hosts"); err == nil {
		files = append(files, knownHostsFile{path, policy.GroupWorkspaces})
	}
	if home, err := os.UserHomeDir(); err == nil {
		files = append(files, knownHostsFile{filepath.Join(home, ".ssh", "known_hosts"), ""})
	}
	return append(files, knownHostsFile{"/etc/ssh/ssh_known_hosts", ""})
}

// named is the host of that name.
func (n *hostKeyNames) named(name string) (policy.Host, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refreshLocked()
	for fingerprint, h := range n.hosts {
		if slices.Contains(h.Names, name) {
			h.Fingerprint = fingerprint
			if policy.GitHost(fingerprint) != "" {
				h.Groups = append(h.Groups[:len(h.Groups):len(h.Groups)], policy.GroupGit)
			}
			return h, true
		}
	}
	return policy.Host{}, false
}

func (n *hostKeyNames) lookup(key ssh.PublicKey) policy.Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refreshLocked()
	cert, isCert := key.(*ssh.Certificate)
	if isCert {
		key = cert.Key
	}
	h := n.hosts[ssh.FingerprintSHA256(key)]
	if name := policy.GitHost(ssh.FingerprintSHA256(key)); name != "" {
		h.Names, h.Groups = append([]string{name}, h.Names...), append(h.Groups[:len(h.Groups):len(h.Groups)], policy.GroupGit)
	}
	if isCert && cert.SignatureKey != nil && cert.CertType == ssh.HostCert {
		h.Names = append(h.Names[:len(h.Names):len(h.Names)], n.certifiedLocked(cert)...)
	}
	return h
}

// certifiedLocked are the names in the certificate that its authority may give.
func (n *hostKeyNames) certifiedLocked(cert *ssh.Certificate) (names []string) {
	checker := ssh.CertChecker{}
	for _, pattern := range n.authorities[ssh.FingerprintSHA256(cert.SignatureKey)] {
		for _, name := range cert.ValidPrincipals {
			if policy.Match(pattern, name) && checker.CheckCert(name, cert) == nil {
				names = append(names, name)
			}
		}
	}
	return names
}

func (n *hostKeyNames) refreshLocked() {
	var stamps []string
	for _, f := range n.files {
		stamps = append(stamps, stampOf(f.path))
	}
	if now := strings.Join(stamps, "\n"); now == n.stamps && n.hosts != nil {
		return
	} else {
		n.stamps = now
	}
	n.hosts, n.authorities = map[string]policy.Host{}, map[string][]string{}
	for _, f := range n.files {
		n.readLocked(f)
	}
}

// readLocked reads what it can: a line that ssh cannot read either names nobody.
func (n *hostKeyNames) readLocked(f knownHostsFile) {
	file, err := os.Open(f.path)
	if err != nil {
		return
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxKnownHosts))
	if err != nil {
		return
	}
	for line := range strings.Lines(string(data)) {
		marker, names, key, _, _, err := ssh.ParseKnownHosts([]byte(line))
		if err != nil || marker == "revoked" {
			continue
		}
		fingerprint := ssh.FingerprintSHA256(key)
		if marker == "cert-authority" {
			n.authorities[fingerprint] = append(n.authorities[fingerprint], names...)
			continue
		}
		h := n.hosts[fingerprint]
		for _, name := range names {
			if strings.HasPrefix(name, "|") || strings.HasPrefix(name, "!") {
				continue // hashed, or the opposite of a name
			}
			if f.group == policy.GroupWorkspaces {
				name = strings.TrimSuffix(name, ".keyway")
			}
			h.Names = append(h.Names, name)
		}
		if f.group != "" {
			h.Groups = []string{f.group}
		}
		n.hosts[fingerprint] = h
	}
}
