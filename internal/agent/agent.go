package agent

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/audit"
	"keyway/internal/policy"
	"keyway/internal/sleep"
	"keyway/internal/unixsock"
)

// Config configures an agent. The zero Config refuses every signature, because it has no
// policy.
type Config struct {
	// Policy returns the policy that holds now. It is called for every decision.
	Policy func() *policy.Policy
	// Log takes a line for every decision before its effect; nil: no log.
	Log interface{ Append(audit.Event) error }
	// Hosts returns the user's names for the host with a key; nil: none.
	Hosts func(ssh.PublicKey) policy.Host
	// CertDirs are directories in which certificates for keys that are held are
	// looked for: files whose names end with -cert.pub.
	CertDirs []string
	// Upstream returns the socket of another agent, whose keys are shown and used beside our own;
	// empty, or nil: none.
	Upstream func() string
	// Askers ask the user, in this order; the first that can reach the user does. A user that
	// runs keyway approve is asked there, too.
	Askers []Asker
	// Providers are patterns of the paths of libraries that may be loaded; none:
	// no library.
	Providers []string
	// Lifetime is that of keys added without one; 0: they stay.
	Lifetime time.Duration
	// Logf says for people what happens; nil: nothing is said.
	Logf func(format string, args ...any)

	uptime, asleep func() time.Duration // of tests; nil: the machine's
}

// Agent holds keys and serves connections.
type Agent struct {
	config    Config
	keys      keyring
	away      away
	files     files
	questions questions
	logins    logins
	refusals  refusals
	unlogged  unlogged

	upstreamDown atomic.Bool // said in the log

	connections atomic.Uint64 // accepted so far: each has a number in the log

	signing atomic.Int64 // requests for a signature that are not answered yet

	mu        sync.Mutex // over open and listeners
	open      map[*connection]struct{}
	listeners map[net.Listener]struct{}
	freezing  chan struct{} // closed when all are to stop; see freeze.go
}

// New makes an agent without keys.
func New(c Config) *Agent {
	if c.uptime == nil {
		c.uptime = uptime
	}
	if c.asleep == nil {
		c.asleep = asleep
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	a := &Agent{
		config: c, open: map[*connection]struct{}{}, listeners: map[net.Listener]struct{}{},
		freezing: make(chan struct{}),
	}
	a.keys.uptime = c.uptime
	a.away.lastUse, a.away.asleep = c.uptime(), c.asleep()
	a.away.changed = make(chan struct{}, 1)
	a.questions.askers = []Asker{&a.questions.board, newDialog(c.Askers)}
	return a
}

// Forget forgets every key and says how many there were.
func (a *Agent) Forget(why string) int {
	n := a.keys.clear()
	a.noteRefusals(true)
	a.note(audit.Event{Event: audit.Remove, Verdict: audit.Allowed, Reason: why})
	return n
}

func (a *Agent) policy() *policy.Policy {
	if a.config.Policy == nil {
		return nil
	}
	return a.config.Policy()
}

func (a *Agent) known() known { return known{a.config.Hosts, &a.logins} }

// note logs an event that no signature depends on, and is no refusal.
func (a *Agent) note(e audit.Event) {
	if err := a.log(e); err != nil {
		a.config.Logf("%v", err)
	}
}

// log logs an event, after the refusals that were only counted so far.
func (a *Agent) log(e audit.Event) error {
	a.noteRefusals(true)
	return a.write(e)
}

// mayLoad reports whether a library may be loaded. path has no symbolic links. A
// pattern after ! forbids what others permit (ssh_config(5), PATTERNS).
func (a *Agent) mayLoad(path string) bool {
	permitted := false
	for _, p := range a.config.Providers {
		forbidden, negated := strings.CutPrefix(p, "!")
		if negated && policy.Match(forbidden, path) {
			return false
		}
		permitted = permitted || !negated && policy.Match(p, path)
	}
	return permitted
}

// DefaultProviders are the libraries that ssh-agent loads without being told
// (ssh-agent(1), -P).
var DefaultProviders = []string{"/usr/lib*/*", "/usr/local/lib*/*"}

// providerPath returns the path of a library with symbolic links resolved, so that a link in a
// permitted directory cannot lead outside it.
func providerPath(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", errors.New("a provider needs an absolute path")
	}
	return filepath.EvalSymlinks(path)
}

// Serve answers connections on l until ctx ends, and closes l, or until the agent is frozen,
// and leaves l open. With remote set, every client counts as remote: the socket is for
// forwarding. It returns when all its connections have ended.
func (a *Agent) Serve(ctx context.Context, l net.Listener, remote bool) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	a.enlist(l)
	defer a.forgetListener(l)
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			c := a.admit(conn, remote)
			wg.Go(func() { c.serve(ctx) })
		case a.Frozen():
			wg.Wait() // before ctx ends, which would close them
			return nil
		case unixsock.Passing(err):
			if sleep.For(ctx, 50*time.Millisecond) != nil {
				return nil
			}
		default:
			return err
		}
	}
}

func (a *Agent) enlist(l net.Listener) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.listeners[l] = struct{}{}
	var wait time.Time
	if a.Frozen() { // since before it was listed: no other call wakes it
		wait = time.Unix(1, 0)
	}
	setDeadline(l, wait)
}

func (a *Agent) forgetListener(l net.Listener) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.listeners, l)
}
