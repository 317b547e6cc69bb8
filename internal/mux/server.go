//go:build linux

package mux

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/memory"
	"keyway/internal/unixsock"
)

const (
	// doorName is the socket by which keyway asks the mux to hold a workspace ready. No
	// workspace has such a name.
	doorName = ".door"
	// maxAsk bounds in bytes what is said there.
	maxAsk = 512
	// maxWorkspaces bounds how many are held ready.
	maxWorkspaces = 64
	// holdOff is the time before a workspace that could not be entered is tried again.
	holdOff = time.Minute
	// idleTime is how long a connection that nobody uses is kept, and a mux without any.
	idleTime = 30 * time.Minute
)

// Config is what a Server works with.
type Config struct {
	// Dir is a private directory, for the sockets: one for each workspace, by its name.
	Dir string
	// Identity names this build. A mux of another makes way.
	Identity string
	// Dial reaches a workspace. It asks nobody.
	Dial func(ctx context.Context, name keyway.Name) (Target, error)
	// Suits tells before each session why ssh has to connect to a workspace by itself from
	// now on: what its configuration says has changed. It may be nil.
	Suits func(ctx context.Context, name keyway.Name) error
	Log   *slog.Logger
	Idle  time.Duration // idleTime; 0: that
}

// Server holds workspaces ready.
type Server struct {
	cfg    Config
	door   *net.UnixListener
	open   context.Context // ends when no new session is begun any more
	retire context.CancelFunc
	stuck  chan struct{} // closed when a connection to a guest hangs for good

	mu     sync.Mutex
	ready  map[keyway.Name]*workspace
	old    map[*workspace]struct{}   // replaced, with their last sessions
	trying map[keyway.Name]time.Time // zero: now; else when it failed
	failed map[keyway.Name]error     // why it did
	broke  sync.Once                 // closes stuck
	work   sync.WaitGroup
}

// workspace is one that is held ready.
type workspace struct {
	name     keyway.Name
	server   *Server
	guest    *guest
	listener *net.UnixListener
	once     sync.Once
	clients  sync.WaitGroup
}

// NewServer makes a Server that can be asked. The caller calls Serve once.
func NewServer(cfg Config) (*Server, error) {
	if cfg.Idle == 0 {
		cfg.Idle = idleTime
	}
	door, err := unixsock.Listen(filepath.Join(cfg.Dir, doorName), 0o600)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, door: door, stuck: make(chan struct{}), ready: map[keyway.Name]*workspace{}, old: map[*workspace]struct{}{}, trying: map[keyway.Name]time.Time{}, failed: map[keyway.Name]error{}}
	s.open, s.retire = context.WithCancel(context.Background())
	return s, nil
}

// Serve holds ready what it is asked to, first those names, until ctx ends. When
// another build comes, or nobody has used it for long, it ends with its last session. If a
// connection to a guest hangs, it returns while goroutines wait, and its process has to end.
func (s *Server) Serve(ctx context.Context, names ...keyway.Name) {
	defer s.retire()
	stop := context.AfterFunc(ctx, func() {
		s.retire()
		for _, w := range s.all() {
			w.guest.ssh.Close()
		}
	})
	defer stop()
	context.AfterFunc(s.open, func() {
		s.door.Close()
		for _, w := range s.all() {
			w.retire()
		}
	})
	s.work.Go(s.watchIdle)
	for _, name := range names {
		s.work.Go(func() { s.hold(name) })
	}
	_ = unixsock.AcceptEach(s.door, func(conn net.Conn) { s.work.Go(func() { s.asked(conn.(*net.UnixConn)) }) })
	ended := make(chan struct{})
	go func() { s.work.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-s.stuck:
	}
}

// breakOff ends Serve without its goroutines.
func (s *Server) breakOff(name keyway.Name) {
	s.cfg.Log.Error("the connection to the guest hangs: the mux ends, and its sessions with it", "workspace", name)
	s.retire()
	s.broke.Do(func() { close(s.stuck) })
}

func (s *Server) all() []*workspace {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.AppendSeq(slices.Collect(maps.Values(s.ready)), maps.Keys(s.old))
}

// asked serves one connection at the door: a line with a name and the build that
// asks.
func (s *Server) asked(conn *net.UnixConn) {
	defer conn.Close()
	cred, err := unixsock.Peer(conn)
	if err != nil || int(cred.Uid) != os.Getuid() {
		return
	}
	_ = conn.SetDeadline(time.Now().Add(greetTime))
	line, err := bufio.NewReaderSize(io.LimitReader(conn, maxAsk), maxAsk).ReadString('\n')
	if err != nil {
		return
	}
	word, identity, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	if word == whyMark { // a guard asks, of whatever build: it shows that nothing is locked
		s.all()
		if identity == holdMark {
			held(conn, s.open)
		}
		return
	}
	if name, why := strings.CutPrefix(word, whyMark); why {
		if identity == s.cfg.Identity {
			_, _ = io.WriteString(conn, s.why(keyway.Name(name)))
		}
		return
	}
	if identity != s.cfg.Identity {
		_, _ = io.WriteString(conn, "another build\n")
		s.retire()
		return
	}
	name, err := keyway.ParseName(word)
	if err != nil {
		return
	}
	_, _ = io.WriteString(conn, "ok\n")
	conn.Close()
	s.hold(name)
}

// why returns what kept the workspace from being held ready; empty: it is, or nobody has tried.
func (s *Server) why(name keyway.Name) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failed[name]; err != nil {
		return err.Error()
	}
	return ""
}

// hold connects to a workspace, unless that is done or has failed just now.
func (s *Server) hold(name keyway.Name) {
	if !s.begin(name) {
		return
	}
	w, err := s.connect(name)
	s.mu.Lock()
	if err != nil {
		s.trying[name], s.failed[name] = time.Now(), err
	} else {
		delete(s.trying, name)
		delete(s.failed, name)
		s.ready[name] = w
	}
	s.mu.Unlock()
	if err != nil {
		s.cfg.Log.Info("not held ready", "workspace", name, "error", err)
		return
	}
	s.cfg.Log.Info("held ready", "workspace", name)
	memory.Release() // of the start and the login, which are over
	if s.open.Err() != nil {
		w.retire()
	}
	w.serve()
	s.mu.Lock()
	if s.ready[name] == w {
		delete(s.ready, name)
	}
	delete(s.old, w)
	s.mu.Unlock()
	s.cfg.Log.Info("no longer held ready", "workspace", name)
}

// replace has new sessions go over another connection, and leaves w to those that it has.
func (s *Server) replace(w *workspace) {
	s.mu.Lock()
	current := s.ready[w.name] == w
	if current {
		delete(s.ready, w.name)
		s.old[w] = struct{}{}
	}
	s.mu.Unlock()
	if current {
		s.cfg.Log.Info("its keys are soon to change: another connection takes its place", "workspace", w.name)
		w.retire()
		s.hold(w.name)
	}
}

func (s *Server) begin(name keyway.Name) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed, tried := s.trying[name]
	if s.ready[name] != nil || tried && (failed.IsZero() || time.Since(failed) < holdOff) || len(s.ready)+len(s.trying) >= maxWorkspaces {
		return false
	}
	s.trying[name] = time.Time{}
	return true
}

func (s *Server) connect(name keyway.Name) (*workspace, error) {
	t, err := s.cfg.Dial(s.open, name)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(s.open, func() { t.Conn.Close() })
	g, err := login(t)
	stop()
	if err != nil {
		return nil, err
	}
	l, err := unixsock.Listen(filepath.Join(s.cfg.Dir, string(name)), 0o600)
	if err != nil {
		g.close()
		return nil, err
	}
	w := &workspace{name: name, server: s, guest: g, listener: l}
	g.wire.soon = func() { s.work.Go(func() { s.replace(w) }) }
	return w, nil
}

// serve serves clients until the connection has ended, or it is retired and its last
// client has gone.
func (w *workspace) serve() {
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-w.guest.ended:
			w.retire()
		case <-stop:
		}
	})
	watch.Go(func() {
		if w.guest.wire.awaitStuck(stop, readPause) {
			w.server.breakOff(w.name)
		}
	})
	_ = unixsock.AcceptEach(w.listener, func(conn net.Conn) {
		w.clients.Go(func() {
			c := &control{conn: conn.(*net.UnixConn), w: w}
			if err := c.serve(); err != nil {
				w.server.cfg.Log.Info("not served", "workspace", w.name, "pid", c.pid, "why", err)
			}
		})
	})
	w.clients.Wait()
	close(stop)
	watch.Wait()
	w.guest.close()
}

// suits reports why ssh has to connect by itself; it does so from now on.
func (w *workspace) suits() error {
	if w.server.cfg.Suits == nil {
		return nil
	}
	err := w.server.cfg.Suits(w.server.open, w.name)
	if err != nil {
		w.retire()
	}
	return err
}

// retire takes the socket away: an ssh that comes now connects by itself, and what runs
// goes on.
func (w *workspace) retire() {
	w.once.Do(func() {
		os.Remove(filepath.Join(w.server.cfg.Dir, string(w.name)))
		w.listener.Close()
	})
}

// watchIdle ends connections that nobody uses, and then the server.
func (s *Server) watchIdle() {
	tick := time.NewTicker(max(s.cfg.Idle/10, time.Millisecond))
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-s.open.Done():
			return
		case <-tick.C:
		}
		for _, w := range s.all() {
			if since, idle := w.guest.idleSince(); idle && time.Since(since) > s.cfg.Idle {
				w.retire()
			}
			last = time.Now()
		}
		if time.Since(last) > s.cfg.Idle {
			s.retire()
		}
	}
}

// Resize looks for terminals whose size has changed. A client passes on SIGWINCH to
// the process that it knows from the answer to its greeting.
func (s *Server) Resize() {
	for _, w := range s.all() {
		w.guest.resize()
	}
}

// Ask asks the mux behind dir to hold a workspace ready. It reports false if there is
// none, or one of another build.
func Ask(dir, identity string, name keyway.Name) bool {
	return ask(dir, string(name), identity) == "ok\n"
}

const (
	// whyMark begins a question that changes nothing.
	whyMark = "?"
	// holdMark after it asks to keep the connection (Guard). Muxes before it close it.
	holdMark = "hold"
)

// Why returns what kept the mux behind dir from holding a workspace ready; empty: nothing
// that it knows of.
func Why(dir, identity string, name keyway.Name) string {
	return ask(dir, whyMark+string(name), identity)
}

func ask(dir, word, identity string) string {
	conn, err := unixsock.Dial(filepath.Join(dir, doorName))
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprintf(conn, "%s %s\n", word, identity); err != nil {
		return ""
	}
	answer, _ := io.ReadAll(io.LimitReader(conn, maxAsk))
	return string(answer)
}
