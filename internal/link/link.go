// Package link keeps uplinks from the laptop to places open. The link is one
// process per user, started by whichever command needs it first. It reaches each
// place by the user's own ssh, brings the node there if it is missing, and then
// speaks HTTP/2 with it over that ssh's standard input and output. It never sees
// a key, nor what the user's ssh says to a guest.
package link

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/stream"
)

// Config is what a link needs to know.
type Config struct {
	Program  string // our own executable, for the guard and as SSH_ASKPASS
	Node     string // an executable that is a node for this machine; "": one of Programs is
	Socket   string // where the link listens
	Identity string // which build this is; see Identity
	Programs Programs
	// Options are more options for the ssh to a place; nil for none.
	Options func(context.Context, keyway.Place) []string
	// KnownHosts are the files in which that ssh looks for the key of a host on the
	// route; nil: not known.
	KnownHosts func(ctx context.Context, host string) (files []string)
	// IsHost reports whether the user's configuration of ssh knows a host; nil: it
	// knows all.
	IsHost func(ctx context.Context, host string) bool
	// Route is what the user's configuration of ssh says of the way to a place; nil: nothing
	// is known.
	Route func(context.Context, keyway.Place) Route
	// Next is what a user can do about an error, in words for a terminal; nil: Error.Next.
	Next func(*keyway.Error) string
	Log  *slog.Logger

	// Inherited are the connections that the link before this one has handed over.
	Inherited []Inherited
}

// Route is a way to a place.
type Route struct {
	FirstHop  string        // the address of the machine that it begins at; may be empty
	Unlimited string        // ssh's name for that, if connecting to it has no time limit; else empty
	Longest   time.Duration // the longest such limit on the way; 0: none
	// Agents are the sockets of the agents that ssh uses on the way; an empty one is that of
	// SSH_AUTH_SOCK, which is also meant by nil.
	Agents []string
	// Commands are the hosts on the way that ssh reaches by a command of the user's.
	Commands []string
	// Endless is the error of a route that ssh would follow without an end; Late that of a
	// configuration for which ssh takes long.
	Endless, Late error
}

// Link is the server of the laptop. Its API is the node's for each place, under
// /v1/places/PLACE/, and a few paths of its own (docs/PROTOCOL.api.md).
type Link struct {
	cfg      Config
	started  time.Time
	listener net.Listener
	ctx      context.Context // ends with the link
	stop     context.CancelFunc
	budget   *stream.Budget
	watcher  *stream.Watcher
	guard    guard
	gate     gate
	forwards forwards
	spares   spares

	mu      sync.Mutex
	uplinks map[keyway.Place]*uplink
	asks    map[string]*attempt // by the secret that its ssh's askpass shows
	lives   map[*proxied]struct{}
	leaving bool           // to another process
	ended   sync.WaitGroup // of lives, and of the watcher
}

// Serve runs a link on l until ctx ends or somebody asks it to stop, and returns
// when all it started has ended.
func Serve(ctx context.Context, l net.Listener, cfg Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	link := &Link{
		cfg: cfg, started: time.Now(), listener: l, guard: guard{program: cfg.Program}, ctx: ctx, stop: cancel,
		budget: stream.NewBudget(stream.DefaultBudget), watcher: stream.NewWatcher(cfg.Log),
		uplinks: map[keyway.Place]*uplink{}, asks: map[string]*attempt{}, lives: map[*proxied]struct{}{},
	}
	cleanRuns(link.runtime())
	link.ended.Go(func() { link.watcher.Run(ctx) })
	for _, in := range cfg.Inherited {
		if err := link.take(in); err != nil {
			cfg.Log.Warn("a connection was not taken over", "workspace", in.Name, "error", err)
		}
	}
	srv := &http.Server{
		Handler:     link.handler(),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
	}
	closed := context.AfterFunc(ctx, func() { srv.Close() })
	defer closed()
	err := srv.Serve(l)
	cancel()
	link.close()
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// runtime is the directory for sockets and what lives as long as a process.
func (l *Link) runtime() string { return filepath.Dir(l.cfg.Socket) }

func (l *Link) close() {
	l.mu.Lock()
	uplinks := make([]*uplink, 0, len(l.uplinks))
	for _, w := range l.uplinks {
		uplinks = append(uplinks, w)
	}
	l.mu.Unlock()
	for _, w := range uplinks {
		w.close()
	}
	l.ended.Wait()
	l.guard.stop()
}

func (l *Link) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", l.status)
	mux.HandleFunc("POST /v1/stop", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "0") // complete before the connection is closed
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		l.stop()
	})
	mux.HandleFunc("POST /v1/handover", l.handOver)
	mux.HandleFunc("POST /v1/places/{place}/connect", l.connect)
	mux.HandleFunc("POST /v1/places/{place}/answer", l.answer)
	mux.HandleFunc("POST /v1/places/{place}/prove", l.prove)
	mux.HandleFunc("POST /v1/askpass", l.askpass)
	mux.HandleFunc("POST /v1/places/{place}/v1/workspaces/{name}/stream", l.stream)
	mux.HandleFunc("POST /v1/places/{place}/workspaces/{name}/forward", l.forward)
	mux.HandleFunc("/v1/places/{place}/v1/", func(w http.ResponseWriter, r *http.Request) {
		uplink, err := l.uplink(r.PathValue("place"))
		if err != nil {
			api.WriteError(w, err)
			return
		}
		if _, err := uplink.node(r.Context(), nil, nil); err != nil {
			api.WriteError(w, err)
			return
		}
		node := api.NewClient(transport{uplink}, "http://node").At(uplink.host()).For(uplink.place)
		http.StripPrefix("/v1/places/"+string(uplink.place), api.NewHandler(watched{node, l, uplink})).ServeHTTP(w, r)
	})
	return mux
}

// uplink returns the uplink to the place, made if it is new.
func (l *Link) uplink(name string) (*uplink, error) {
	place, err := keyway.ParsePlace(name)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.uplinks[place]
	if w == nil {
		w = &uplink{place: place, log: l.cfg.Log, old: map[*connection]struct{}{}, ending: map[keyway.Name]*keyway.Error{}}
		w.start = func(ctx context.Context, a *attempt) (*nodeProcess, error) { return l.startNode(ctx, w, a) }
		l.uplinks[place] = w
	}
	return w, nil
}

func (l *Link) startNode(ctx context.Context, u *uplink, a *attempt) (*nodeProcess, error) {
	secret := rand.Text()
	l.mu.Lock()
	l.asks[secret] = a
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.asks, secret)
		l.mu.Unlock()
	}()
	u.mu.Lock()
	env := slices.Clone(u.env)
	u.mu.Unlock()
	options, route := l.lookAt(ctx, u.place)
	u.mu.Lock()
	u.agents = route.Agents
	u.mu.Unlock()
	if route.Endless != nil {
		return nil, route.Endless
	}
	if route.Late != nil {
		a.report(keyway.Progress{Message: keyway.AsError(route.Late).Message})
	}
	leave, err := l.gate.enter(ctx, route.FirstHop)
	if err != nil {
		return nil, err
	}
	knocking, in := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer in()
	watching.Go(func() { a.whenIn(knocking, leave) })
	s := starter{
		program: l.cfg.Program, node: l.cfg.Node, runtime: l.runtime(), programs: l.cfg.Programs, options: options, unlimited: route.Unlimited, commands: route.Commands, connect: connectTimeout, behind: max(connectTimeout, route.Longest), known: l.cfg.KnownHosts, isHost: l.cfg.IsHost,
		asking: a.asking, begun: a.dialling, heard: a.hear, silence: maxSilence, askpass: askpassEnv(l.cfg.Program, l.cfg.Socket, secret),
	}
	p, err := s.start(ctx, u.place, env, a.report)
	if err != nil {
		err = a.needsAnswer(u, err)
		l.cfg.Log.Info("uplink failed", "place", u.place, "error", err)
		return nil, err
	}
	l.cfg.Log.Info("uplink up", "place", u.place, "pid", p.cmd.Process.Pid)
	return p, nil
}

// lookAt asks the user's ssh about the route to place, and for more options.
func (l *Link) lookAt(ctx context.Context, place keyway.Place) (options []string, route Route) {
	if place == keyway.Local {
		return nil, Route{}
	}
	var both sync.WaitGroup
	if l.cfg.Options != nil {
		both.Go(func() { options = l.cfg.Options(ctx, place) })
	}
	if l.cfg.Route != nil {
		both.Go(func() { route = l.cfg.Route(ctx, place) })
	}
	both.Wait()
	return options, route
}

// ConnectRequest is the body of POST /v1/places/PLACE/connect.
type ConnectRequest struct {
	// Env are variables of the command's environment that ssh needs to reach the
	// user's agent, tickets and display; others are ignored.
	Env map[string]string `json:"env"`
	// Timeout is for how long the command waits, in nanoseconds; 0: for ever.
	Timeout time.Duration `json:"patience,omitempty"`
}

// passedEnv are the variables that a command hands to the link: the link lives
// longer than the shell that happened to start it.
var passedEnv = []string{"SSH_AUTH_SOCK", "KRB5CCNAME", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "PATH"}

// PassedEnv picks from env what a command hands to the link.
func PassedEnv(env map[string]string) map[string]string {
	passed := map[string]string{}
	for _, k := range passedEnv {
		if v, ok := env[k]; ok {
			passed[k] = v
		}
	}
	return passed
}

// read decodes the body of a request of at most limit bytes into req, and returns the uplink
// of the place that it is about. After an error, which it writes to w, ok is false.
func (l *Link) read(w http.ResponseWriter, r *http.Request, limit int64, req any) (u *uplink, ok bool) {
	err := api.ReadJSON(r.Body, limit, req)
	if err == nil {
		u, err = l.uplink(r.PathValue("place"))
	}
	if err != nil {
		api.WriteError(w, err)
	}
	return u, err == nil
}

func (l *Link) connect(w http.ResponseWriter, r *http.Request) {
	var req ConnectRequest
	uplink, ok := l.read(w, r, 1<<20, &req)
	if !ok {
		return
	}
	l.await(w, r, uplink, envOf(req.Env), req.Timeout)
}

// envOf is what counts of an environment that a command has handed over.
func envOf(passed map[string]string) []string {
	env := []string{}
	for _, k := range passedEnv {
		if v, ok := passed[k]; ok && !strings.ContainsRune(v, 0) {
			env = append(env, k+"="+v)
		}
	}
	return env
}

// await brings the uplink up and streams the news of it.
func (l *Link) await(w http.ResponseWriter, r *http.Request, uplink *uplink, env []string, timeout time.Duration) {
	ctx := r.Context()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	out := api.NewEventWriter(w)
	events := make(chan api.Event, news)
	result := make(chan error, 1)
	go func() { // ends when the uplink is up or has failed, or with the request
		_, err := uplink.node(ctx, env, events)
		result <- err
	}()
	for {
		select {
		case e := <-events:
			out.Send(e)
		case err := <-result:
			if err != nil {
				out.Send(api.Event{Error: keyway.AsError(err)})
			} else {
				out.Send(api.Event{Done: true})
			}
			return
		}
	}
}

// answerRequest is the body of POST /v1/places/PLACE/answer.
type answerRequest struct {
	ID string `json:"id"`
	api.Answer
}

func (l *Link) answer(w http.ResponseWriter, r *http.Request) {
	var req answerRequest
	uplink, ok := l.read(w, r, 64<<10, &req)
	if !ok {
		return
	}
	uplink.mu.Lock()
	a := uplink.attempt
	uplink.mu.Unlock()
	if a == nil || !a.answer(req.ID, req.Answer) {
		api.WriteError(w, keyway.Errorf(keyway.NotFound, "the question is no longer open"))
	}
}

// Identity names the build of the program at path: commands and the link
// compare theirs to notice an upgrade.
func Identity(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return path
	}
	return filepath.Clean(path) + " " + info.ModTime().UTC().Format(time.RFC3339Nano)
}
