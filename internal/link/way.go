package link

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/plain"
)

// way is the way to one place:
//
//	down ──node()──► connecting ──greeted──► up ──process or connection ends──► down
//	  ▲                  └──failed, or nobody waits any more──► down             ▲
//	  └──────────────── asked, and no answer in time: doubted ◄──────────────────┘ up
//
// There is at most one attempt at a time; whoever needs the place waits for the
// attempt under way. A connection that does not answer is doubted: it carries
// what it carries until that has ended or it is dead, and whoever needs the way
// gets a new one. If it does answer in the end, it is the way again.
type way struct {
	place keyway.Place
	log   *slog.Logger
	start func(ctx context.Context, a *attempt) (*nodeProcess, error)

	mu      sync.Mutex
	env     []string                      // of the newest command that named this place
	attempt *attempt                      // while connecting
	up      *connection                   // while up
	old     map[*connection]struct{}      // doubted or replaced, and not ended yet
	turn    turn                          // when it may be tried again unasked
	fell    time.Time                     // when it last ceased to be up
	risen   chan struct{}                 // closed when the way is up the next time
	closed  bool                          // for good
	ending  map[keyway.Name]*keyway.Error // workspaces that are being stopped, and what that is called
	work    sync.WaitGroup
}

// connection is a way that is or was up.
type connection struct {
	*api.Client
	http    *http.ClientConn
	process *nodeProcess
	since   time.Time

	// Under the way's lock.
	ended    bool               // for good
	asked    bool               // a ping is under way
	trusted  context.Context    // ends when the connection is doubted
	distrust context.CancelFunc // ends it
}

const (
	// answerTime is how long an answer may take before the connection is doubted. A
	// way with longer round trips costs an ssh that is begun for nothing.
	answerTime = 500 * time.Millisecond
	// deadTime is how long it may take before the connection is given up. Streams
	// have left it long before; what else it carries cannot.
	deadTime = 30 * time.Second
)

// node returns the connection, bringing the way up if it is down. events, which
// may be nil, hears the news of that; it is not closed.
func (w *way) node(ctx context.Context, env []string, events chan api.Event) (*connection, error) {
	for {
		c, a, joined := w.join(env, events)
		if c != nil {
			return c, nil
		}
		if joined {
			defer a.leave(events)
		}
		select {
		case <-a.done:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, keyway.Errorf(keyway.Unreachable, "%s%w", a.stage(w.place), hide(ctx.Err())).
					Hint("see where it stops: ssh -v %s true", plain.Shell(string(w.place)))
			}
			return nil, ctx.Err()
		}
		if joined {
			return a.conn, a.err
		}
		// It was given up by the last who waited for it: begin another.
	}
}

// join returns the connection if the way is up, else the attempt under way,
// begun if there was none, and whether the caller now waits for it.
func (w *way) join(env []string, events chan api.Event) (*connection, *attempt, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if env != nil {
		w.env = env
	}
	if w.up != nil {
		return w.up, nil, false
	}
	a := w.attempt
	if a == nil {
		a = w.beginLocked()
	}
	return nil, a, a.join(events)
}

func (w *way) beginLocked() *attempt {
	ctx, cancel := context.WithCancelCause(context.Background())
	a := &attempt{cancel: cancel, done: make(chan struct{}), listeners: map[chan api.Event]bool{}}
	if w.closed {
		a.err = keyway.Errorf(keyway.Unreachable, "the link is being stopped")
		close(a.done)
		return a
	}
	w.attempt = a
	w.work.Go(func() {
		defer cancel(nil)
		for tries := 0; ; tries++ {
			pause, settled := w.try(ctx, a, tries)
			if settled {
				return
			}
			_ = sleep(ctx, pause)
		}
	})
	return a
}

const (
	// fellTime is how long after its fall a way is tried again when the attempt to
	// bring it back breaks, too: what has killed the one may have killed the other,
	// and whoever has just called would have to call again.
	fellTime = 10 * time.Second
	tryPause = 100 * time.Millisecond
)

// try is one go at bringing the way up. It has not settled when another may help,
// after a pause.
func (w *way) try(ctx context.Context, a *attempt, tries int) (pause time.Duration, settled bool) {
	conn, err := w.connect(ctx, a)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && conn.ended {
		err = brokeOff(w.place, conn.process, nil)
	}
	if w.up == nil && !w.closed && ctx.Err() == nil {
		if pause, again := w.again(err, tries); again {
			w.log.Debug("way tried again", "place", w.place, "error", err)
			return pause, false
		}
	}
	w.settleLocked(a, conn, err)
	return 0, true
}

// again says whether an attempt that has failed for the so manieth time is made once
// more, and after which pause.
func (w *way) again(err error, tries int) (pause time.Duration, again bool) {
	switch {
	case errors.Is(err, errDropped) && tries < maxDropped:
		return dropPause<<tries + rand.N(dropPause<<tries), true
	case keyway.Is(err, keyway.Unreachable) && time.Since(w.fell) < fellTime:
		return tryPause, true
	}
	return 0, false
}

// settleLocked ends an attempt. The connection it was to replace may have come
// back meanwhile: that is as good, if the attempt has failed.
func (w *way) settleLocked(a *attempt, conn *connection, err error) {
	w.attempt = nil
	defer close(a.done)
	switch {
	case err == nil:
		if w.up != nil {
			w.old[w.up] = struct{}{}
		}
		w.riseLocked(conn)
	case w.up != nil:
		conn, err = w.up, nil
	default:
		w.turn = w.turn.after(err, time.Now())
	}
	a.conn, a.err = conn, err
}

// riseLocked makes c the way.
func (w *way) riseLocked(c *connection) {
	c.trusted, c.distrust = context.WithCancel(context.Background())
	w.up, w.turn = c, turn{}
	if w.risen != nil {
		close(w.risen)
		w.risen = nil
	}
}

func (w *way) connect(ctx context.Context, a *attempt) (*connection, error) {
	p, err := w.start(ctx, a)
	if err != nil {
		return nil, err
	}
	c := &connection{process: p, since: time.Now()}
	var cc *http.ClientConn
	cc, err = api.Connect(ctx, p.conn, func(cc *http.ClientConn) { w.changed(c, cc) })
	if err != nil {
		p.stop()
		return nil, brokeOff(w.place, p, err)
	}
	c.http = cc
	c.Client = api.NewClient(cc, "http://node").At(w.host()).Speaking(p.version)
	w.work.Go(func() { // a process that ended is a connection that ended
		<-p.ended
		w.down(c)
	})
	return c, nil
}

// host is whose words the node's errors are: nobody's else for the node that this
// machine runs itself.
func (w *way) host() keyway.Place {
	if w.place == keyway.Local {
		return ""
	}
	return w.place
}

// transport sends requests to the node over the way as it is then.
type transport struct{ way *way }

// RoundTrip implements http.RoundTripper. A question whose way turns out to be
// dead before there is an answer is asked again on the next.
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	for {
		c, err := t.way.node(req.Context(), nil, nil)
		if err != nil {
			return nil, err
		}
		trusted := t.way.trust(c)
		if req.Method != http.MethodGet {
			return c.http.RoundTrip(req)
		}
		if resp, spoilt, err := ask(trusted, c.http, req); !spoilt {
			return resp, err
		}
	}
}

// ask is one go at a question; it is given up when trusted ends, and then it is
// spoilt unless the asker has lost interest.
func ask(trusted context.Context, rt http.RoundTripper, req *http.Request) (resp *http.Response, spoilt bool, err error) {
	ctx, cancel := context.WithCancel(req.Context())
	keep := context.AfterFunc(trusted, cancel)
	resp, err = rt.RoundTrip(req.WithContext(ctx))
	if keep() || req.Context().Err() != nil {
		return resp, false, err // a context that is not cancelled ends with the request's own
	}
	if err == nil {
		resp.Body.Close() // of an answer that had only begun nothing more can be read
	}
	return nil, true, nil
}

// changed is told that something about c is different: it has ended, or has
// fewer requests.
func (w *way) changed(c *connection, cc *http.ClientConn) {
	w.mu.Lock()
	_, old := w.old[c]
	idle := old && !c.asked && cc.InFlight() == 0
	w.mu.Unlock()
	if idle || cc.Err() != nil {
		w.down(c)
	}
}

// down forgets c; the next need brings up another.
func (w *way) down(c *connection) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.ended {
		return
	}
	c.ended = true
	if w.up == c {
		w.up, w.fell = nil, time.Now()
	}
	delete(w.old, c)
	if c.distrust != nil {
		c.distrust()
	}
	w.work.Go(c.process.stop)
}

// trust is for who is about to use c, which may have died without a word: c is
// asked for an answer meanwhile, and the context ends when c is doubted.
func (w *way) trust(c *connection) context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.askLocked(c)
	return c.trusted
}

func (w *way) askLocked(c *connection) {
	if c.asked || w.closed {
		return
	}
	c.asked = true
	w.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadTime)
		defer cancel()
		answered := make(chan error, 1)
		w.work.Go(func() { answered <- c.Ping(ctx) })
		patience := time.NewTimer(answerTime)
		defer patience.Stop()
		var err error
		select {
		case err = <-answered:
		case <-patience.C:
			w.doubt(c)
			err = <-answered
		}
		w.answered(c, err)
	})
}

// doubt takes c out of use for what is new.
func (w *way) doubt(c *connection) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.up == c {
		w.up, w.fell = nil, time.Now()
		w.old[c] = struct{}{}
		c.distrust()
		w.log.Info("way doubted", "place", w.place, "pid", c.process.cmd.Process.Pid)
	}
}

// answered is how asking c has ended.
func (w *way) answered(c *connection, err error) {
	w.mu.Lock()
	c.asked = false
	_, old := w.old[c]
	switch {
	case err == nil && old && w.up == nil:
		delete(w.old, c)
		w.riseLocked(c)
		if w.attempt != nil {
			w.attempt.cancel(errCameBack)
		}
	case err == nil && old:
		err = errIdle // if it is
		if c.http.InFlight() > 0 {
			err = nil
		}
	}
	w.mu.Unlock()
	if err != nil {
		w.down(c)
	}
}

var (
	errCameBack = errors.New("the connection that was doubted has answered")
	errIdle     = errors.New("nobody needs it any more")
)

// close ends the way and waits for all that it started.
func (w *way) close() {
	w.mu.Lock()
	w.closed = true
	a := w.attempt
	w.mu.Unlock()
	if a != nil {
		a.cancel(context.Canceled)
		<-a.done
	}
	w.mu.Lock()
	all := slices.Collect(maps.Keys(w.old))
	if w.up != nil {
		all = append(all, w.up)
	}
	w.mu.Unlock()
	for _, c := range all {
		c.http.Close()
		c.process.stop()
	}
	w.work.Wait()
}
