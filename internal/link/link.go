// Package link keeps uplinks from the laptop to places open, and carries the streams to guests over
// them. The link is one process per user, started by the command that needs it first. It reaches
// each place by the user's own ssh, brings the node there if it is missing, and then speaks HTTP/2
// with it over that ssh's standard input and output. It never sees a key, or the plaintext of what
// the user's ssh and a guest exchange.
//
// Begin with Client, which commands use, and with Serve, uplink and proxied for the process itself.
// docs/PROTOCOL.api.md describes what it serves.
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

// Config configures a link.
type Config struct {
	Program  string // this executable, for the guard and as SSH_ASKPASS
	Node     string // an executable that is a node for this machine; "": one of Programs is sent
	Socket   string // path of the link's socket
	Identity string // the build of the link; see Identity
	Programs Programs
	// Options returns additional options for the ssh to a place; may be nil.
	Options func(context.Context, keyway.Place) []string
	// KnownHosts returns the files in which that ssh looks for the key of a host on the route.
	// Nil means that they are not known.
	KnownHosts func(ctx context.Context, host string) (files []string)
	// IsHost reports whether the user's configuration of ssh defines a host. Nil means that it
	// defines all.
	IsHost func(ctx context.Context, host string) bool
	// Route returns the route to a place by the user's ssh configuration. Nil means that nothing is
	// known.
	Route func(context.Context, keyway.Place) Route
	// Next returns advice about an error, as text for a terminal. Nil means Error.Next.
	Next func(*keyway.Error) string
	Log  *slog.Logger

	// Inherited holds the connections that the previous link has handed over.
	Inherited []Inherited
}

// Route describes the route to a place.
type Route struct {
	FirstHop  string        // the address of its first machine; may be empty
	Unlimited string        // ssh's name for that machine, if ssh has no time limit for connecting to it; otherwise empty
	Longest   time.Duration // the longest such limit on the route; 0: none
	// Agents lists the sockets of the agents that ssh uses on the route. An empty one stands for
	// SSH_AUTH_SOCK, and so does nil.
	Agents []string
	// Commands lists the hosts on the route that ssh reaches by a command of the user's, and Proxies
	// those commands, in the same order.
	Commands, Proxies []string
	// Endless is the error for a route on which ssh would go around in circles; Late is the error
	// for a configuration that ssh takes long to read.
	Endless, Late error
}

// Link is the laptop's server. For each place it offers the node's API, under /v1/places/PLACE/,
// and some paths of its own (docs/PROTOCOL.api.md).
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
	asks    map[string]*attempt // by the secret that the askpass of its ssh presents
	lives   map[*proxied]struct{}
	leaving bool           // another process takes over
	ended   sync.WaitGroup // counts the connections' lives, and the watcher
}

// Serve runs a link on l until ctx ends or a client asks it to stop. It returns when everything
// that it started has ended.
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

// runtime returns the directory for sockets and other files that need not outlive the process.
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
		http.StripPrefix("/v1/places/"+string(uplink.place), api.NewHandler(watched{node, l, uplink, r.URL.Query().Has("removing")})).ServeHTTP(w, r)
	})
	return mux
}

// uplink returns the uplink to the place, and makes it if there is none.
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
	first := u.fell.IsZero()
	u.mu.Unlock()
	if route.Endless != nil {
		return nil, route.Endless
	}
	if route.Late != nil {
		a.report(keyway.Progress{Message: keyway.AsError(route.Late).Message})
	}
	for i, command := range route.Proxies {
		if note := Apart(route.Commands[i], command); first && note != "" {
			a.report(keyway.Progress{Message: note})
		}
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
		program: l.cfg.Program, node: l.cfg.Node, runtime: l.runtime(), programs: l.cfg.Programs, options: options, unlimited: route.Unlimited, commands: route.Commands, connect: timeToConnect(ctx, route), behind: max(connectTimeout, route.Longest), known: l.cfg.KnownHosts, isHost: l.cfg.IsHost,
		asking: a.asking, begun: a.dialling, heard: a.hear, agent: u.silentAgent, silence: maxSilence, askpass: askpassEnv(l.cfg.Program, l.cfg.Socket, secret),
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

// lookAt asks the user's ssh about the route to place, and for additional options.
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
	// Env holds the variables of the command's environment that ssh needs to reach the user's
	// agent, tickets and display. Others are ignored.
	Env map[string]string `json:"env"`
	// Timeout is the time for which the command waits, in nanoseconds. 0 means forever.
	Timeout time.Duration `json:"patience,omitempty"`
}

// passedEnv lists the variables that a command passes to the link, which outlives the shell that
// happened to start it.
var passedEnv = []string{"SSH_AUTH_SOCK", "KRB5CCNAME", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "PATH"}

// PassedEnv returns the variables of env that a command passes to the link.
func PassedEnv(env map[string]string) map[string]string {
	passed := map[string]string{}
	for _, k := range passedEnv {
		if v, ok := env[k]; ok {
			passed[k] = v
		}
	}
	return passed
}

// read decodes the body of a request, of at most limit bytes, into req, and returns the uplink of
// the request's place. If it fails, it writes the error to w, and ok is false.
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

// envOf returns the variables that matter in an environment that a command has passed.
func envOf(passed map[string]string) []string {
	env := []string{}
	for _, k := range passedEnv {
		if v, ok := passed[k]; ok && !strings.ContainsRune(v, 0) {
			env = append(env, k+"="+v)
		}
	}
	return env
}

// await brings the uplink up and streams its events to the command.
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

// Identity returns the identity of the program's build at path. Commands compare theirs with the
// link's to notice an upgrade.
func Identity(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return path
	}
	return filepath.Clean(path) + " " + info.ModTime().UTC().Format(time.RFC3339Nano)
}
