package link

import (
	"context"
	"net/http"
	"sync"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// way is the way to one place:
//
//	down ──node()──► connecting ──greeted──► up ──process or connection ends──► down
//	                     └──failed, or nobody waits any more──► down
//
// There is at most one attempt and one connection at a time; whoever needs the
// place waits for the attempt under way.
type way struct {
	place keyway.Place
	start func(ctx context.Context, a *attempt) (*nodeProcess, error)

	mu      sync.Mutex
	env     []string    // of the newest command that named this place
	attempt *attempt    // while connecting
	up      *connection // while up
	closed  bool        // for good
	work    sync.WaitGroup
}

// connection is a way that is up.
type connection struct {
	*api.Client
	http    *http.ClientConn
	process *nodeProcess
	since   time.Time
}

// attempt is one try to bring a way up. Its listeners hear its news, and the
// first who answers a question answers it for all.
type attempt struct {
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when conn or err is set
	conn   *connection
	err    error

	mu        sync.Mutex
	listeners map[chan api.Event]bool // value: can answer questions
	waiting   int
	abandoned bool // all who waited have left
	question  *openQuestion
}

type openQuestion struct {
	api.Question
	answer chan api.Answer
}

// news is how many events a listener may be behind before it misses some;
// questions are repeated to nobody, so they are never dropped (see ask).
const news = 64

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
		conn, err := w.connect(ctx, a)
		w.mu.Lock()
		defer w.mu.Unlock()
		a.conn, a.err, w.attempt, w.up = conn, err, nil, conn
		close(a.done)
	})
	return a
}

func (w *way) connect(ctx context.Context, a *attempt) (*connection, error) {
	p, err := w.start(ctx, a)
	if err != nil {
		return nil, err
	}
	c := &connection{process: p, since: time.Now()}
	var cc *http.ClientConn
	cc, err = api.Connect(ctx, p.conn, func() { w.down(c) })
	if err != nil {
		p.stop()
		return nil, diagnose(w.place, p.errors.String(), err)
	}
	c.http = cc
	c.Client = api.NewClient(cc, "http://node")
	w.work.Go(func() { // a process that ended is a connection that ended
		<-p.ended
		w.down(c)
	})
	return c, nil
}

// down forgets c; the next need brings up another.
func (w *way) down(c *connection) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.up == c {
		w.up = nil
	}
	w.work.Go(c.process.stop)
}

// close ends the way and waits for all that it started.
func (w *way) close() {
	w.mu.Lock()
	w.closed = true
	a, c := w.attempt, w.up
	w.mu.Unlock()
	if a != nil {
		a.cancel(context.Canceled)
		<-a.done
		c = a.conn
	}
	if c != nil {
		c.http.Close()
		c.process.stop()
	}
	w.work.Wait()
}

// join adds one who waits; false if the attempt has been given up, so that it
// ends without an answer to anybody.
func (a *attempt) join(events chan api.Event) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.abandoned {
		return false
	}
	a.waiting++
	if events != nil {
		a.listeners[events] = true
		if q := a.question; q != nil {
			events <- api.Event{Question: &q.Question}
		}
	}
	return true
}

// leave ends the attempt when nobody waits for it any more.
func (a *attempt) leave(events chan api.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.listeners, events)
	if a.waiting--; a.waiting == 0 {
		a.abandoned = true
		a.cancel(context.Canceled)
	}
	if a.question != nil && len(a.listeners) == 0 {
		a.question.refuse()
	}
}

func (a *attempt) report(p keyway.Progress) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for l := range a.listeners {
		select {
		case l <- api.Event{Progress: &p}:
		default: // news may be missed; a slow terminal must not slow the copying
		}
	}
}

// ask puts a question to those who wait for the place. Without any, or when the
// last leaves, the answer is no.
func (a *attempt) ask(ctx context.Context, q api.Question) api.Answer {
	open := &openQuestion{Question: q, answer: make(chan api.Answer, 1)}
	a.mu.Lock()
	if len(a.listeners) == 0 || a.question != nil {
		a.mu.Unlock()
		return api.Answer{}
	}
	a.question = open
	for l := range a.listeners {
		select {
		case l <- api.Event{Question: &q}:
		default:
			<-l // the oldest news makes room
			l <- api.Event{Question: &q}
		}
	}
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.question = nil
		a.mu.Unlock()
	}()
	select {
	case answer := <-open.answer:
		return answer
	case <-ctx.Done():
		return api.Answer{}
	}
}

// answer gives the person's answer to the question of that id, if it is still
// open.
func (a *attempt) answer(id string, answer api.Answer) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.question == nil || a.question.ID != id {
		return false
	}
	select {
	case a.question.answer <- answer:
		return true
	default: // somebody else was quicker
		return false
	}
}

func (q *openQuestion) refuse() {
	select {
	case q.answer <- api.Answer{}:
	default:
	}
}
