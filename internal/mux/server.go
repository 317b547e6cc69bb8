//go:build linux

package mux

import (
	"bufio"
	"context"
	"errors"
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

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
	"keyway/internal/memory"
	"keyway/internal/unixsock"
)

const (
	// doorName is the socket by which keyway asks the mux to hold a workspace ready. No
	// workspace has such a name.
	doorName = ".door"
	// awayPrefix begins the names of sockets that no ssh is to find.
	awayPrefix = ".away-"
	// maxAsk bounds the bytes of a question or an answer on the door.
	maxAsk = 512
	// maxWorkspaces bounds the workspaces that are held ready.
	maxWorkspaces = 64
	// holdOff is the time after a failed login to a workspace in which the mux does not try again.
	holdOff = time.Minute
	// idleTime is the time for which an unused connection is kept, and a mux without connections.
	idleTime = 30 * time.Minute
)

// Config configures a Server.
type Config struct {
	// Dir is a private directory for the sockets. Each workspace has one under its own name.
	Dir string
	// Identity names this build. A mux of another build ends when this one starts.
	Identity string
	// Dial connects to a workspace. It asks the user nothing.
	Dial func(ctx context.Context, name keyway.Name) (Target, error)
	// Suits is called before each session and forward. An error is the reason for which ssh has to
	// connect to the workspace by itself from now on: its configuration has changed, or the workspace
	// of that name is another than the one with the user and the host key. Suits may be nil.
	Suits func(ctx context.Context, name keyway.Name, user string, hostKey ssh.PublicKey) error
	// Screen returns the terminal of a client for news, by its pid and the descriptor of its standard
	// error; nil: it has none. Killed returns the reason of an end that the link did not live to tell.
	// Both may be nil.
	Screen func(pid, errs int) Screen
	Killed func(name keyway.Name) string
	Log    *slog.Logger
	Idle   time.Duration // 0 means idleTime
}

// Server holds workspaces ready.
type Server struct {
	cfg    Config
	door   *net.UnixListener
	open   context.Context // ends when no new sessions are accepted any more
	retire context.CancelFunc
	stuck  chan struct{} // closed when a connection to a guest is stuck

	mu     sync.Mutex
	ready  map[keyway.Name]*workspace
	old    map[*workspace]struct{}   // replaced workspaces that still have sessions
	trying map[keyway.Name]time.Time // zero: a login is under way; otherwise the time when it failed
	failed map[keyway.Name]error     // the reason
	broke  sync.Once                 // closes stuck
	work   sync.WaitGroup
}

// workspace is a workspace that is held ready.
type workspace struct {
	name     keyway.Name
	server   *Server
	guest    *guest
	listener *net.UnixListener
	news     *news
	clients  sync.WaitGroup

	mu      sync.Mutex
	away    bool // its socket has another name
	retired bool
}

// NewServer makes a Server that listens on its door. The caller calls Serve once.
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

// Serve holds workspaces ready until ctx ends: first those of names, then those that commands ask
// for. After another build has asked, or without use for idleTime, it ends with its last session.
// If a connection to a guest is stuck, Serve returns while goroutines still wait, and the process
// has to end.
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

// breakOff has Serve return without waiting for its goroutines.
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

// asked serves one connection at the door. It brings a line with a workspace's name and the build
// of the asking program.
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
	if word == whyMark { // a guard of any build asks; the answer shows that the server's lock is free
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

// why returns the reason for which the workspace is not held ready. It is empty if the workspace
// is, or if no login was tried.
func (s *Server) why(name keyway.Name) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failed[name]; err != nil {
		return err.Error()
	}
	return ""
}

// hold connects to a workspace, unless there is a connection or the last try failed within holdOff.
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
	memory.Release() // of the start and the login, which have ended
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

// replace opens another connection for new sessions. w keeps the sessions that it has.
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
	w := &workspace{name: name, server: s}
	w.news = newNews(t.News, w.stalls)
	s.work.Go(w.news.read)
	stop := context.AfterFunc(s.open, func() { t.Conn.Close() })
	g, err := login(t)
	stop()
	if err != nil {
		if why := w.news.whyEnded(""); why != "" {
			err = errors.New(why)
		}
		w.news.close()
		return nil, err
	}
	l, err := unixsock.Listen(w.path(), 0o600)
	if err != nil {
		g.close()
		w.news.close()
		return nil, err
	}
	w.mu.Lock()
	w.guest, w.listener = g, l
	w.mu.Unlock()
	w.stalls(w.news.isStalled())
	g.wire.soon = func() { s.work.Go(func() { s.replace(w) }) }
	return w, nil
}

// serve serves clients until the connection has ended, or until it is retired and its last client
// has gone.
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
	w.news.close()
}

// suits returns the reason for which ssh has to connect by itself, if there is one, and then
// retires w.
func (w *workspace) suits() error {
	if w.server.cfg.Suits == nil {
		return nil
	}
	err := w.server.cfg.Suits(w.server.open, w.name, w.guest.permit.user, w.guest.permit.hostKey)
	if err != nil {
		w.retire()
	}
	return err
}

// retire removes the socket. A later ssh connects by itself, and running sessions continue. The
// workspace can be held ready again meanwhile.
func (w *workspace) retire() {
	w.mu.Lock()
	first := !w.retired
	w.retired = true
	if first {
		os.Remove(w.path())
		w.listener.Close()
	}
	w.mu.Unlock()
	s := w.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if first && s.ready[w.name] == w {
		delete(s.ready, w.name)
		s.old[w] = struct{}{}
	}
}

// path returns the path of the socket. No ssh looks for the one of a connection that stalls.
func (w *workspace) path() string {
	name := string(w.name)
	if w.away {
		name = awayPrefix + name
	}
	return filepath.Join(w.server.cfg.Dir, name)
}

// stalls takes the socket away while the connection has no working path: an ssh then connects by
// itself, and tells its user the reason. Sessions that have waited long for their first answer
// end.
func (w *workspace) stalls(stalled bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.guest == nil {
		return
	}
	if stalled != w.away && !w.retired {
		before := w.path()
		w.away = stalled
		if err := os.Rename(before, w.path()); err != nil {
			w.away = !stalled
		}
	}
	if stalled {
		w.guest.abandon(w.news.noAnswer())
	}
}

// watchIdle ends unused connections, and then the server.
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

// Resize sends the sizes of terminals that have changed. It is called on SIGWINCH, which a client
// passes on to the pid in the answer to its greeting.
func (s *Server) Resize() {
	for _, w := range s.all() {
		w.guest.resize()
	}
}

// Ask asks the mux at dir to hold a workspace ready. It reports false if no mux of this build
// answers.
func Ask(dir, identity string, name keyway.Name) bool {
	return ask(dir, string(name), identity) == "ok\n"
}

const (
	// whyMark begins a question that changes nothing: before a name, for the reason (Server.why);
	// alone, whether the mux still answers.
	whyMark = "?"
	// holdMark after whyMark asks the mux to keep the connection open (Guard). Earlier muxes close
	// it.
	holdMark = "hold"
)

// Why returns the reason for which the mux at dir does not hold a workspace ready. It is empty if
// the mux gives none.
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
