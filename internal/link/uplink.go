package link

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/sleep"
)

// uplink is the state of reaching one place:
//
//	down ──node()──► connecting ──greeted──► up ──process or connection ends──► down
//	  ▲                  └──failed, or nobody waits any more──► down             ▲
//	  └──────────────── pinged, and no answer in time: suspected ◄───────────────┘ up
//
// There is at most one attempt at a time, which every caller that needs the place waits for. A
// connection that does not answer a ping is suspected: it keeps what it carries until that has
// ended or the connection is dead, and new callers get another connection. A suspected connection
// that answers after all is used again.
type uplink struct {
	place keyway.Place
	log   *slog.Logger
	start func(ctx context.Context, a *attempt) (*nodeProcess, error)

	mu      sync.Mutex
	env     []string                      // of the newest command that named this place
	agents  []string                      // that its ssh uses; see Route.Agents
	attempt *attempt                      // while connecting
	up      *connection                   // while up
	old     map[*connection]struct{}      // suspected or replaced, and not yet ended
	retry   retry                         // when it may be tried again without a command
	fell    time.Time                     // when it was last up
	failure *failure                      // the last one since it was up
	risen   chan struct{}                 // closed when the uplink is up the next time
	closed  bool                          // for good
	ending  map[keyway.Name]*keyway.Error // workspaces that are being stopped, with the error that says so
	work    sync.WaitGroup
}

// connection is an uplink's HTTP/2 over one ssh. It is or was up.
type connection struct {
	*api.Client
	http    *http.ClientConn
	process *nodeProcess
	since   time.Time
	heard   atomic.Int64 // when the node last sent anything, in nanoseconds after since

	// The uplink's lock guards the following fields.
	needed     time.Time          // when its use last began
	ended      bool               // for good
	asked      bool               // a ping is under way
	left       bool               // nothing new uses it, even if it answers
	trusted    context.Context    // ends when the connection is suspected
	suspectNow context.CancelFunc // cancels trusted
}

const (
	// askDelay is the time for a connection to answer its use before a ping asks. A ping just
	// before another small packet would delay that by 40 ms, where a bastion's sshd sends small
	// packets by Nagle's algorithm and the laptop acknowledges late.
	askDelay = 100 * time.Millisecond
	// answerTime bounds the time for the answer to a ping; after it, the connection is suspected.
	// An uplink with a longer round trip costs an unnecessary ssh.
	answerTime = 500 * time.Millisecond
	// deadTime bounds the time for the answer to a ping; after it, the connection is given up.
	// Streams have changed to another connection by then; its other users cannot.
	deadTime = 30 * time.Second
)

// failure says why the uplink could not be brought up, or not in the time that the caller had.
type failure struct {
	err *keyway.Error
	at  time.Time
}

// node returns the connection, and brings the uplink up if it is down. events, which may be nil,
// receives the attempt's events; it is not closed.
func (u *uplink) node(ctx context.Context, env []string, events chan api.Event) (*connection, error) {
	for {
		c, a, joined := u.join(env, events)
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
				return nil, u.late(a, ctx.Err())
			}
			return nil, ctx.Err()
		}
		if joined {
			return a.conn, a.err
		}
		// The last caller that waited for it has left: begin another.
	}
}

// late returns the error for a caller whose time has run out, with the stage that the attempt has
// reached.
func (u *uplink) late(a *attempt, err error) error {
	e := keyway.Errorf(keyway.Unreachable, "%s%w", a.stage(u.place), hide(err)).
		Hint("see where it stops: ssh -v %s true", plain.Shell(string(u.place)))
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.up == nil {
		u.failure = &failure{e, time.Now()}
	}
	return e
}

// current returns the connection, or nil while the uplink is not up.
func (u *uplink) current() *connection {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.up
}

// join returns the connection if the uplink is up, and otherwise the attempt under way, which it
// begins if there is none. It also reports whether the caller now waits for the attempt.
func (u *uplink) join(env []string, events chan api.Event) (*connection, *attempt, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if env != nil {
		u.env = env
	}
	if u.up != nil {
		return u.up, nil, false
	}
	a := u.attempt
	if a == nil {
		a = u.beginLocked()
	}
	return nil, a, a.join(events)
}

func (u *uplink) beginLocked() *attempt {
	ctx, cancel := context.WithCancelCause(context.Background())
	a := &attempt{cancel: cancel, noKey: u.agentIsEmpty, done: make(chan struct{}), listeners: map[chan api.Event]bool{}}
	if u.closed {
		a.err = keyway.Errorf(keyway.Unreachable, "the link is being stopped")
		close(a.done)
		return a
	}
	u.attempt = a
	u.work.Go(func() {
		defer cancel(nil)
		for tries := 0; ; tries++ {
			pause, settled := u.try(ctx, a, tries)
			if settled {
				return
			}
			_ = sleep.For(ctx, pause)
		}
	})
	return a
}

const (
	// fellTime is the time after an uplink's fall in which another attempt follows if the attempt
	// to bring it back breaks, too. The same event may have broken both, and the caller would have
	// to call again.
	fellTime = 10 * time.Second
	tryPause = 100 * time.Millisecond
)

// try makes one try to bring the uplink up. If settled is false, another may help after pause.
func (u *uplink) try(ctx context.Context, a *attempt, tries int) (pause time.Duration, settled bool) {
	conn, err := u.connect(ctx, a)
	u.mu.Lock()
	defer u.mu.Unlock()
	if err == nil && conn.ended {
		err = brokeOff(u.place, conn.process, nil)
	}
	if u.up == nil && !u.closed && ctx.Err() == nil {
		if pause, again := u.again(err, tries); again {
			u.log.Debug("uplink tried again", "place", u.place, "error", err)
			return pause, false
		}
	}
	u.settleLocked(a, conn, err)
	return 0, true
}

// again reports whether an attempt that has failed tries times is repeated, and after which pause.
func (u *uplink) again(err error, tries int) (pause time.Duration, again bool) {
	switch {
	case errors.Is(err, errDropped) && tries < maxDropped:
		return dropPause<<tries + rand.N(dropPause<<tries), true
	case keyway.Is(err, keyway.Unreachable) && time.Since(u.fell) < fellTime:
		return tryPause, true
	}
	return 0, false
}

// settleLocked ends an attempt. If the attempt has failed but the connection that it was to
// replace has recovered, the result is that connection.
func (u *uplink) settleLocked(a *attempt, conn *connection, err error) {
	u.attempt = nil
	defer close(a.done)
	switch {
	case err == nil:
		if u.up != nil {
			u.old[u.up] = struct{}{}
		}
		u.riseLocked(conn)
	case u.up != nil:
		conn, err = u.up, nil
	default:
		u.retry = u.retry.after(err, time.Now())
		if !errors.Is(err, context.Canceled) {
			u.failure = &failure{keyway.AsError(err), time.Now()}
		}
	}
	a.conn, a.err = conn, err
}

// riseLocked puts c into use.
func (u *uplink) riseLocked(c *connection) {
	c.trusted, c.suspectNow = context.WithCancel(context.Background())
	u.up, u.retry, u.failure = c, retry{}, nil
	if u.risen != nil {
		close(u.risen)
		u.risen = nil
	}
}

func (u *uplink) connect(ctx context.Context, a *attempt) (*connection, error) {
	p, err := u.start(ctx, a)
	if err != nil {
		return nil, err
	}
	c := &connection{process: p, since: time.Now()}
	var cc *http.ClientConn
	cc, err = api.Connect(ctx, hearing{p.conn, c}, func(cc *http.ClientConn) { u.changed(c, cc) })
	if err != nil {
		p.stop()
		return nil, brokeOff(u.place, p, err)
	}
	c.http = cc
	c.Client = api.NewClient(cc, "http://node").At(u.host()).For(u.place).Speaking(p.version)
	u.work.Go(func() { // the connection ends with its process
		<-p.ended
		u.down(c)
	})
	return c, nil
}

// host returns the place to which the node's errors are attributed. For the node that this
// machine runs itself, it is empty.
func (u *uplink) host() keyway.Place {
	if u.place == keyway.Local {
		return ""
	}
	return u.place
}

// transport sends each request over the uplink's connection at that time.
type transport struct{ uplink *uplink }

// maxEnded bounds the connections that end during one request. Each new connection is a login, so
// a node that ends before it answers must not be started forever.
const maxEnded = 5

// RoundTrip implements http.RoundTripper. If the connection turns out to be dead before the
// answer, the request is repeated on the next one.
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	var mute muteness
	for ended := 0; ; {
		c, err := t.uplink.node(req.Context(), nil, nil)
		if err != nil {
			return nil, err
		}
		trusted := t.uplink.trust(c)
		if req.Method != http.MethodGet {
			resp, err := c.http.RoundTrip(req)
			if err != nil && !errors.Is(req.Context().Err(), context.Canceled) && c.heard.Load() == 0 && time.Since(c.since) >= deadTime {
				err = t.uplink.mute()
			}
			return resp, err
		}
		resp, spoilt, err := ask(trusted, c.http, req)
		switch {
		case !spoilt && (err == nil || req.Context().Err() != nil || c.http.Err() == nil):
			return resp, err
		case !spoilt: // the connection had ended before, unnoticed
			t.uplink.down(c)
		}
		if t.uplink.hasEnded(c) {
			ended++
		}
		if err := mute.after(req.Context(), t.uplink, c); err != nil {
			return nil, err
		}
		if ended == maxEnded {
			return nil, endsUnanswered(req.Context(), t.uplink.place, c.process)
		}
	}
}

// muteness counts the connections of a request on which nothing has arrived since the greeting, so
// that a node that hangs is given up after few logins. The zero value has counted none.
type muteness struct {
	since time.Time     // when the first one was suspected
	pause time.Duration // before the next login
}

// mutePause is the pause before the second login. Each further one is twice as long.
const mutePause = time.Second

// after is called when a request has been given up on c, which is suspected or has ended. If the
// node of c has never answered, after waits until the pause is over or the uplink is up. The error
// reports that the node has not answered for deadTime.
func (m *muteness) after(ctx context.Context, u *uplink, c *connection) error {
	if c.heard.Load() > 0 || u.hasEnded(c) {
		return nil
	}
	if m.since.IsZero() {
		m.since, m.pause = time.Now(), mutePause
	}
	left := deadTime - time.Since(m.since)
	if left <= 0 {
		return u.mute()
	}
	timer := time.NewTimer(min(m.pause, left))
	defer timer.Stop()
	m.pause *= 2
	select {
	case <-u.rise():
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

func (u *uplink) mute() error {
	return keyway.Errorf(keyway.Unreachable, "the node that keyway starts at %s sent its greeting, and then did not answer for %v", u.place, deadTime).
		Hint("does a file system or the machine itself hang there? %s", typedAt(u.place, "df"))
}

// rise returns a channel that is closed when the uplink is up the next time, or now if it is.
func (u *uplink) rise() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.up != nil {
		up := make(chan struct{})
		close(up)
		return up
	}
	if u.risen == nil {
		u.risen = make(chan struct{})
	}
	return u.risen
}

func (u *uplink) hasEnded(c *connection) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return c.ended
}

// ask sends the request once. It gives up when trusted ends, and then reports spoilt, unless the
// request's own context has ended.
func ask(trusted context.Context, rt http.RoundTripper, req *http.Request) (resp *http.Response, spoilt bool, err error) {
	ctx, cancel := context.WithCancel(req.Context())
	keep := context.AfterFunc(trusted, cancel)
	resp, err = rt.RoundTrip(req.WithContext(ctx))
	if keep() || req.Context().Err() != nil {
		return resp, false, err // a context that is not cancelled ends with the request's own
	}
	if err == nil {
		resp.Body.Close() // the rest of an answer that has begun cannot be read any more
	}
	return nil, true, nil
}

// changed is called when the state of c has changed: it has ended, or carries fewer requests.
func (u *uplink) changed(c *connection, cc *http.ClientConn) {
	u.mu.Lock()
	_, old := u.old[c]
	idle := old && !c.asked && cc.InFlight() == 0
	u.mu.Unlock()
	if idle || cc.Err() != nil {
		u.down(c)
	}
}

// down removes c. The next caller brings up another connection.
func (u *uplink) down(c *connection) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.downLocked(c)
}

func (u *uplink) downLocked(c *connection) {
	if c.ended {
		return
	}
	c.ended = true
	if u.up == c {
		u.up, u.fell = nil, time.Now()
	}
	delete(u.old, c)
	if c.suspectNow != nil {
		c.suspectNow()
	}
	u.work.Go(c.process.stop)
}

// trust is called before c is used. c may be dead without a sign, so it is pinged meanwhile, and
// the returned context ends if c is suspected.
func (u *uplink) trust(c *connection) context.Context {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.askLocked(c)
	return c.trusted
}

func (u *uplink) askLocked(c *connection) {
	c.needed = time.Now()
	if c.asked || u.closed {
		return
	}
	c.asked = true
	u.work.Go(func() {
		if u.answersUnasked(c) {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), deadTime)
		defer cancel()
		answered := make(chan error, 1)
		u.work.Go(func() { answered <- c.Ping(ctx) })
		timeout := time.NewTimer(answerTime)
		defer timeout.Stop()
		var err error
		select {
		case err = <-answered:
		case <-timeout.C:
			u.suspect(c)
			err = <-answered
		}
		u.answered(c, err)
	})
}

// answersUnasked waits for askDelay and reports whether anything came on c since its use last
// began. If so, it sets c.asked to false.
func (u *uplink) answersUnasked(c *connection) bool {
	select {
	case <-time.After(askDelay):
	case <-c.process.ended:
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if c.heard.Load() <= int64(c.needed.Sub(c.since)) {
		return false
	}
	u.answeredLocked(c, nil)
	return true
}

// hearing records when anything arrives on a connection.
type hearing struct {
	net.Conn
	c *connection
}

func (h hearing) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	if n > 0 {
		h.c.heard.Store(int64(time.Since(h.c.since))) // the monotonic clock: the wall clock may be set meanwhile
	}
	return n, err
}

// suspect takes c out of use for new requests and streams.
func (u *uplink) suspect(c *connection) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.up == c {
		u.up, u.fell = nil, time.Now()
		u.old[c] = struct{}{}
		c.suspectNow()
		u.log.Info("connection suspected", "place", u.place, "pid", c.process.cmd.Process.Pid)
	}
}

// leave takes the connection out of use for new requests and streams: the next caller logs in
// again. Requests and streams on the connection continue.
func (u *uplink) leave() {
	u.mu.Lock()
	c := u.up
	if c != nil {
		u.up, u.fell, c.left = nil, time.Now(), true
		u.old[c] = struct{}{}
	}
	u.mu.Unlock()
	if c != nil {
		u.changed(c, c.http)
	}
}

// answered records the result of a ping.
func (u *uplink) answered(c *connection, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answeredLocked(c, err)
}

func (u *uplink) answeredLocked(c *connection, err error) {
	c.asked = false
	_, old := u.old[c]
	switch {
	case err == nil && old && u.up == nil && !c.left:
		delete(u.old, c)
		u.riseLocked(c)
		if u.attempt != nil {
			u.attempt.cancel(errCameBack)
		}
	case err == nil && old:
		err = errIdle // if that is the case
		if c.http.InFlight() > 0 {
			err = nil
		}
	}
	if err != nil {
		u.downLocked(c)
	}
}

var (
	errCameBack = errors.New("the suspected connection has answered")
	errIdle     = errors.New("nobody needs it any more")
)

// close ends the uplink and waits for everything that it started.
func (u *uplink) close() {
	u.mu.Lock()
	u.closed = true
	a := u.attempt
	u.mu.Unlock()
	if a != nil {
		a.cancel(context.Canceled)
		<-a.done
	}
	u.mu.Lock()
	all := slices.Collect(maps.Keys(u.old))
	if u.up != nil {
		all = append(all, u.up)
	}
	u.mu.Unlock()
	for _, c := range all {
		c.http.Close()
		c.process.stop()
	}
	u.work.Wait()
}
