// Package front is the HTTP server between a user's pages and editors, and the user's Jupyter
// server. It passes all requests on, with four exceptions. Package kernel serves a kernel's
// websocket. A notebook that a client reads gets the outputs that its file does not have. A
// notebook that a client saves shows which outputs the client has received. A page for notebooks
// gets a script that continues the running cells.
package front

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"keyway/internal/jupyter/journal"
	"keyway/internal/jupyter/kernel"
	"keyway/internal/sleep"
)

// Options configure a Front.
type Options struct {
	Upstream Upstream
	Token    string // that clients must have; not empty
	Dir      string // of the journals, with a directory for each kernel
	Limits   journal.Limits
	Logf     func(format string, args ...any)
	// Away is the time without a connected client after which a notebook's file is written. A page
	// that comes back earlier saves the notebook itself.
	Away time.Duration
	// Long is the shortest duration of a cell whose unseen end is reported.
	Long time.Duration
	// Gap and Again are those of kernel.Options.
	Gap, Again time.Duration
}

// Front is an http.Handler. Use New to make one.
type Front struct {
	Options
	token     string
	upstream  Upstream
	transport *http.Transport
	proxy     *httputil.ReverseProxy
	handler   http.Handler
	ctx       context.Context
	cancel    context.CancelFunc
	work      sync.WaitGroup
	oneByOne
	news *newsroom

	mu      sync.Mutex
	kernels map[string]*kernel.Kernel
	paths   map[string][]string  // by kernel: the paths of its notebooks
	shared  map[string]bool      // notebooks that several people edit in a room
	left    map[string]time.Time // by kernel that has ended: the time of its journal's last write
	failed  map[string]string    // by notebook: the error of the last attempt to write it
	unnoted map[string]bool      // kernels whose paths could not be stored
	closed  bool
}

// oneByOne has the locks of operations that must not overlap.
type oneByOne struct {
	writing   sync.Mutex // held while a file is written
	writeTime time.Duration
	ending    locks               // by kernel: held while its journal is ended
	opening   map[string]*opening // by kernel: its journal is being read. Front.mu guards the map
	openTime  time.Duration
	sweeping  sync.Once
}

// opening is the reading of a kernel's journal, which may have 256 MB, or a disk that does not
// answer. All that need the kernel share it.
type opening struct {
	done chan struct{} // closed after the others are set
	k    *kernel.Kernel
	err  error
}

// openTime bounds the time for which a start waits for one journal. Pages wait for pageTime.
const openTime = 5 * time.Second

// pageTime bounds the time for which a page waits for its kernel's journal. The page then tries again.
const pageTime = 30 * time.Second

// locks are locks by name. The zero value has none.
type locks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when the lock is free
}

// lock waits for a lock. The caller calls unlock.
func (l *locks) lock(name string) (unlock func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.held[name] != nil {
		held := l.held[name]
		l.mu.Unlock()
		<-held
		l.mu.Lock()
	}
	if l.held == nil {
		l.held = map[string]chan struct{}{}
	}
	free := make(chan struct{})
	l.held[name] = free
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.held, name)
		close(free)
	}
}

// New returns a front without connections.
func New(o Options) (*Front, error) {
	if o.Token == "" || !strings.HasPrefix(o.Upstream.Base, "/") || !strings.HasSuffix(o.Upstream.Base, "/") {
		return nil, fmt.Errorf("a front needs a token, and a base that begins and ends with a slash, not %q", o.Upstream.Base)
	}
	news, err := openNews(filepath.Join(o.Dir, "news.json"))
	if err != nil {
		o.Logf("the cells that ended before are not told of: %v", err)
	}
	f := &Front{Options: o, token: o.Token, upstream: o.Upstream, transport: o.Upstream.transport(),
		news: news, kernels: map[string]*kernel.Kernel{}, paths: map[string][]string{}, shared: map[string]bool{}, left: map[string]time.Time{}, failed: map[string]string{}, unnoted: map[string]bool{}, oneByOne: oneByOne{writeTime: writeTime, opening: map[string]*opening{}, openTime: openTime}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.proxy = &httputil.ReverseProxy{Transport: f.transport, FlushInterval: -1, Rewrite: f.rewrite, ModifyResponse: f.modify, ErrorHandler: f.unreachable}
	f.handler = f.guard(http.HandlerFunc(f.route))
	return f, nil
}

// ServeHTTP implements http.Handler.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.handler.ServeHTTP(w, r) }

// Resume connects to all kernels of the Jupyter server, so that their output is recorded, and ends
// the journals of other kernels. If the server does not answer, or a journal cannot be read, Resume
// returns an error, and further attempts follow in the background until Close. Resume returns after
// resumeTime, or when ctx ends; journals that take longer are then read and ended in the background.
func (f *Front) Resume(ctx context.Context) error {
	first, cancel := context.WithTimeout(ctx, resumeTime)
	defer cancel()
	err := f.resume(first)
	if err != nil {
		f.work.Go(func() { f.resumeAgain(err) })
	}
	return err
}

// resumeAgain tries until it succeeds. It logs errors that differ from the one before.
func (f *Front) resumeAgain(last error) {
	for pause := resumePause; sleep.For(f.ctx, pause) == nil; pause = min(2*pause, resumeTime) {
		err := f.resume(f.ctx)
		if err == nil {
			return
		}
		if err.Error() != last.Error() && f.ctx.Err() == nil {
			f.Logf("%v", err)
		}
		last = err
	}
}

const (
	// resumeTime bounds the time for which clients wait for Resume. It also bounds the pause between
	// two attempts.
	resumeTime = 30 * time.Second
	// resumePause is the first pause.
	resumePause = time.Second
)

// resume connects to the kernels, and ends the journals of others once. Its error is that of the
// list, or those of journals that cannot be read.
func (f *Front) resume(ctx context.Context) error {
	all, err := f.theirKernels(ctx)
	if err != nil {
		return err
	}
	var theirs []string
	for _, k := range all {
		theirs = append(theirs, k.ID)
	}
	connected := make(chan error, 1)
	f.work.Go(func() { connected <- f.connectAll(theirs) })
	select {
	case err = <-connected:
	case <-ctx.Done(): // connectAll continues, and the next attempt waits for it
		err = ctx.Err()
	}
	_, _ = f.sessions(ctx) // stores the paths; a later request asks again
	swept := make(chan struct{})
	f.work.Go(func() { f.sweeping.Do(func() { f.sweep(theirs) }); close(swept) })
	select {
	case <-swept: // clients read the files after they are written,
	case <-ctx.Done(): // unless that takes too long
	}
	return err
}

// maxOpening bounds the journals that are read at once.
const maxOpening = 4

// connectAll connects to kernels. A journal that cannot be read does not keep the others back, and one
// that takes long does so for openTime.
func (f *Front) connectAll(ids []string) error {
	var work sync.WaitGroup
	errs := make([]error, len(ids))
	room := make(chan struct{}, maxOpening)
	for i, id := range ids {
		if !isKernelID(id) {
			continue
		}
		room <- struct{}{}
		work.Go(func() {
			defer func() { <-room }()
			ctx, cancel := context.WithTimeout(f.ctx, f.openTime)
			defer cancel()
			if _, err := f.kernel(ctx, id); err != nil {
				errs[i] = fmt.Errorf("kernel %s: %w", id, err)
			}
		})
	}
	work.Wait()
	return errors.Join(errs...)
}

// Close ends all connections. The journals stay.
func (f *Front) Close() { f.shut() }

// Stop is Close, but first writes all outputs into the notebooks, because the kernels
// are about to end. A running cell gets a notice. Stop searches for notebooks last, because the
// caller may kill this program soon.
func (f *Front) Stop(ctx context.Context) {
	_, _ = f.sessions(ctx) // stores the paths
	all := f.shut()
	f.writing.Lock()
	defer f.writing.Unlock()
	var searches []func()
	for _, k := range all {
		k.End()
		paths, unclear, done := f.writeKnown(ctx, k, true) // a connected client cannot save any more
		if done && len(paths) > 0 {
			searches = append(searches, func() { f.writeLost(ctx, paths, k, unclear, true) })
		}
	}
	for _, search := range searches {
		search()
	}
	f.transport.CloseIdleConnections()
}

func (f *Front) shut() map[string]*kernel.Kernel {
	f.cancel()
	f.mu.Lock()
	f.closed = true
	all := f.kernels
	f.kernels = map[string]*kernel.Kernel{}
	f.mu.Unlock()
	for _, k := range all {
		k.Close()
	}
	over := make(chan struct{})
	go func() { f.work.Wait(); close(over) }()
	select {
	case <-over:
	case <-time.After(closeTime): // a journal whose disk does not answer: its reading ends with the process
	}
	f.transport.CloseIdleConnections()
	return all
}

// closeTime bounds the time for which the end of the program waits for journals that are being read.
const closeTime = time.Second

// isKernelID reports whether an id is a UUID in lower case, as Jupyter servers give them.
func isKernelID(id string) bool {
	for i := range len(id) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (id[i] == '-') || strings.IndexByte("0123456789abcdef-", id[i]) < 0 {
			return false
		}
	}
	return len(id) == 36
}

// kernelOf returns the id in a path api/kernels/ID/WHAT, below the base.
func kernelOf(path, what string) (id string, ok bool) {
	id, isKernel := strings.CutPrefix(path, "api/kernels/")
	id, isWhat := strings.CutSuffix(id, "/"+what)
	return id, isKernel && isWhat && isKernelID(id)
}

// roomPath is the beginning of the paths of collaboration rooms, below the base.
const roomPath = "api/collaboration/session/"

// route serves the program's own paths, and passes other requests on.
func (f *Front) route(w http.ResponseWriter, r *http.Request) {
	path, ours := strings.CutPrefix(r.URL.Path, f.upstream.Base)
	if !ours {
		f.proxy.ServeHTTP(w, r)
		return
	}
	name, isNotebook := strings.CutPrefix(path, "api/contents/")
	isNotebook = isNotebook && strings.HasSuffix(name, ".ipynb")
	kernelID, isChannels := kernelOf(path, "channels")
	switch {
	case isChannels && r.Header.Get("Upgrade") != "":
		f.channels(w, r, kernelID)
	case isNotebook && r.Method == http.MethodGet && r.URL.Query().Get("content") != "0":
		f.readNotebook(w, r, name)
	case isNotebook && r.Method == http.MethodPut:
		f.saveNotebook(w, r, name)
	case path == labPath && r.Method == http.MethodGet:
		serveLab(w)
	case strings.HasPrefix(path, "keyway/"):
		f.own(w, r, strings.TrimPrefix(path, "keyway/"))
	default:
		if room, ok := strings.CutPrefix(path, roomPath); ok && room != "" {
			f.stepAside(room)
		}
		f.proxy.ServeHTTP(w, r)
	}
}

func (f *Front) channels(w http.ResponseWriter, r *http.Request, id string) {
	if !f.hasKernel(r.Context(), id) {
		http.Error(w, "The Jupyter server has no such kernel.", http.StatusNotFound)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), pageTime)
	defer cancel()
	k, err := f.kernel(ctx, id)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = f.sessions(r.Context()) // stores the path
	k.Serve(w, r)
}

// kernel returns the kernel with the given id. It connects to the kernel if there is no connection
// yet, and continues to do so after ctx ends.
func (f *Front) kernel(ctx context.Context, id string) (*kernel.Kernel, error) {
	f.mu.Lock()
	k, o := f.kernels[id], f.opening[id]
	switch {
	case k != nil:
		f.mu.Unlock()
		return k, nil
	case f.closed:
		f.mu.Unlock()
		return nil, errEnding
	case o == nil:
		o = &opening{done: make(chan struct{})}
		f.opening[id] = o
		f.work.Go(func() { o.k, o.err = f.open(id); close(o.done) })
	}
	f.mu.Unlock()
	select {
	case <-o.done:
		return o.k, o.err
	case <-ctx.Done():
		return nil, errSlow
	}
}

func (f *Front) open(id string) (*kernel.Kernel, error) {
	k, err := kernel.Read(id, f.options(id))
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.opening, id)
	if err != nil {
		return nil, fmt.Errorf("the journal of a kernel: %w", err)
	}
	if f.closed {
		k.Close()
		return nil, errEnding
	}
	f.kernels[id] = k
	k.Connect(f.gone)
	return k, nil
}

var (
	errEnding = errors.New("the program is ending")
	errSlow   = errors.New("its stored output is still being read: the disk is slow, or does not answer")
)

// isOver reports whether nothing uses the journal of a kernel that the Jupyter server does not have.
func (f *Front) isOver(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kernels[id] == nil && f.opening[id] == nil && !f.closed // Close has forgotten which kernels are connected
}

func (f *Front) options(id string) kernel.Options {
	return kernel.Options{
		Dir: filepath.Join(f.Dir, id), Limits: f.Limits, Left: f.upstream.Left != nil && f.upstream.Left(id), Logf: f.Logf, Finished: f.finished, Long: f.Long, Gap: f.Gap, Again: f.Again,
		Dial: func(ctx context.Context, session string) (*websocketConn, *http.Response, error) {
			return f.dialKernel(ctx, id, session)
		},
	}
}

// find returns the kernel with the given id; nil if there is no connection to it.
func (f *Front) find(id string) *kernel.Kernel {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kernels[id]
}

// rewrite turns a client's request into one to the Jupyter server: it replaces this program's token
// by the server's.
func (f *Front) rewrite(r *httputil.ProxyRequest) {
	r.Out.URL.Scheme, r.Out.URL.Host = "http", host
	r.Out.Host = r.In.Host // pages compare it with their origin
	clean(r.Out, f.upstream.Token)
}

func clean(r *http.Request, token string) {
	q := r.URL.Query()
	if q.Has("token") {
		q.Del("token")
		r.URL.RawQuery = q.Encode()
	}
	r.Header.Set("Authorization", "token "+token)
}

// modify removes the Jupyter server's cookies from an answer, except _xsrf: browsers log in to this
// program, not to the server. It notes a kernel's restart, and adds the scripts to pages.
func (f *Front) modify(resp *http.Response) error {
	cookies := resp.Header.Values("Set-Cookie")
	resp.Header.Del("Set-Cookie")
	for _, c := range cookies {
		if strings.HasPrefix(c, "_xsrf=") {
			resp.Header.Add("Set-Cookie", c)
		}
	}
	path := strings.TrimPrefix(resp.Request.URL.Path, f.upstream.Base)
	if id, ok := kernelOf(path, "restart"); ok && resp.StatusCode/100 == 2 {
		if k := f.find(id); k != nil {
			k.Restarted()
		}
	}
	if path == "custom/custom.js" && resp.Request.Method == http.MethodGet {
		return addScript(resp)
	}
	if isPage(path, resp) {
		return f.addExtension(resp)
	}
	return nil
}

func (f *Front) unreachable(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() == nil {
		f.Logf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	http.Error(w, "The Jupyter server does not answer. What kernels have said is kept.", http.StatusBadGateway)
}
