package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"keyway/internal/audit"
	"keyway/internal/policy"
	"keyway/internal/sleep"
	"keyway/internal/sshwire"
)

// connection is one asker. Except for active, waiting and the fields under a lock, only the
// goroutine that serves the connection uses it.
type connection struct {
	agent  *Agent
	conn   net.Conn
	number uint64
	peer   peer
	active atomic.Int64 // when it last said something, for the quota: the oldest goes first

	stranger error       // it is another user's
	waiting  atomic.Bool // for a person
	remote   bool        // under the agent's lock: whose quota it counts against

	in       *bufio.Reader
	route    route
	up       upstream
	refusals int
	slow     time.Duration // how long the answer to a refusal waits
	drop     bool          // the asker has collected too many on all its connections

	parked bool // under the agent's lock: open and not yet answered
}

func (c *connection) touch() { c.active.Store(int64(c.agent.config.uptime())) }

// serve answers the connection until it ends, misbehaves, or ctx ends. If the agent
// is frozen, it stays open.
func (c *connection) serve(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { c.conn.Close() })
	defer stop()
	defer c.up.close()
	if (c.in != nil || c.greet()) && c.answer(ctx) {
		c.agent.park(c)
		return
	}
	c.conn.Close()
	c.agent.gone(c)
}

// greet reports whether the peer is to be served: it returns false for other users.
func (c *connection) greet() bool {
	if c.stranger != nil {
		c.refuse(c.event(audit.Connect, audit.Denied, policy.Decision{Rule: "built in: this user", Reason: c.stranger.Error()}))
		return false
	}
	c.in = bufio.NewReader(c.conn)
	return true
}

// answer answers the requests one after the other. It returns true if the agent was frozen
// between two of them.
func (c *connection) answer(ctx context.Context) (frozen bool) {
	for {
		if c.agent.Frozen() && c.in.Buffered() == 0 {
			return ctx.Err() == nil
		}
		_, err := c.in.Peek(1)
		if errors.Is(err, os.ErrDeadlineExceeded) && c.agent.Frozen() {
			continue
		}
		if err == nil {
			err = c.exchange(ctx)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				c.agent.config.Logf("connection %d: %v", c.number, err)
			}
			return false
		}
	}
}

var errRefusals = errors.New("too many refusals")

// exchange reads one request and answers it.
func (c *connection) exchange(ctx context.Context) error {
	request, err := readMessage(c.in, c.conn)
	if err != nil {
		return err
	}
	c.touch()
	c.agent.lookAround()
	answer := c.handle(ctx, request)
	clear(request) // it may have held a private key or a password
	if c.slow > 0 && sleep.For(ctx, c.slow) != nil {
		return ctx.Err()
	}
	c.slow = 0
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return err
	}
	if _, err := c.conn.Write(frame(answer)); err != nil {
		return err
	}
	if c.refusals >= maxRefusals || c.drop {
		return errRefusals
	}
	return nil
}

// handle returns the answer to a request. Every operation begins with a decision, except those with
// which a peer identifies itself.
func (c *connection) handle(ctx context.Context, request []byte) []byte {
	r := sshwire.NewReader(request[1:])
	kind := request[0]
	c.agent.config.Logf("connection %d: message %d, %d bytes", c.number, kind, len(request))
	switch kind {
	case msgList:
		return c.list(ctx)
	case msgSign:
		return c.sign(ctx, r)
	case msgExtension:
		return c.extension(ctx, r)
	case msgAdd, msgAddConstrained:
		return c.change(policy.Add, func() (audit.Event, error) { return c.add(r) })
	case msgRemove:
		return c.change(policy.Remove, func() (audit.Event, error) { return c.remove(ctx, r) })
	case msgRemoveAll, msgRemoveAllV1:
		return c.change(policy.Remove, func() (audit.Event, error) { return c.removeAll(ctx) })
	case msgAddCard, msgAddCardConstr:
		return c.change(policy.Load, func() (audit.Event, error) { return c.addCard(ctx, r) })
	case msgRemoveCard:
		return c.change(policy.Load, func() (audit.Event, error) { return c.removeCard(r) })
	case msgLock:
		return c.change(policy.Lock, func() (audit.Event, error) { return c.lock(r) })
	case msgUnlock:
		return c.change(policy.Lock, func() (audit.Event, error) { return c.unlock(ctx, r) })
	}
	return failure
}

// change does what changes the agent, if the asker may, and logs it either way.
func (c *connection) change(op policy.Op, do func() (audit.Event, error)) []byte {
	d := c.agent.policy().Decide(c.route.facts(op, c.agent.known(), time.Now()), nil)
	if d.Verdict != policy.Allow {
		c.refuse(c.event(audit.Kind(op), audit.Denied, d))
		return failure
	}
	done, err := do()
	e := c.event(audit.Kind(op), audit.Allowed, d)
	e.Key, e.Comment = done.Key, done.Comment
	if done.Reason != "" {
		e.Reason = done.Reason
	}
	if err != nil {
		e.Verdict, e.Reason = audit.Failed, err.Error()
		c.refuse(e)
		return failure
	}
	c.agent.note(e)
	return success
}

// refuse logs a refusal and counts it: a client with many refusals is probing.
func (c *connection) refuse(e audit.Event) {
	c.refusals++
	wait, drop := c.agent.refusals.refused(askerID{c.route.remote, c.peer.pid}, time.Now())
	c.slow, c.drop = max(c.slow, wait), c.drop || drop
	c.agent.config.Logf("connection %d: %s %s: %s (%s)", c.number, e.Event, e.Verdict, e.Reason, e.Rule)
	c.agent.noteRefusal(e)
}

// event returns a line for the log with the known facts about the asker.
func (c *connection) event(what audit.Kind, verdict audit.Verdict, d policy.Decision) audit.Event {
	e := audit.Event{
		Event: what, Verdict: verdict, Rule: d.Rule, Reason: d.Reason, Request: audit.Request{Remote: c.route.remote, Connection: c.number, PID: c.peer.pid, UID: c.peer.uid, Program: c.peer.program()},
	}
	describeRoute(&e, c.route.facts(policy.List, c.agent.known(), time.Time{}))
	return e
}

func describeRoute(e *audit.Event, f policy.Facts) {
	if f.From.Known() {
		e.From, e.FromKey = f.From.String(), f.From.Fingerprint
	}
	var via []string
	for _, h := range f.Claimed {
		via = append(via, h.String())
	}
	e.Via = strings.Join(via, ", ")
}

// watch returns a context that ends when the asker disconnects. stop must be called before the
// connection is read again.
func (c *connection) watch(ctx context.Context) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancelCause(ctx)
	c.waiting.Store(true)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// A request that follows ends the watch: nothing is known from then on.
		// So does a deadline, which is of us and no hanging up.
		if _, err := c.in.Peek(1); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			cancel(fmt.Errorf("the asker hung up: %w", err))
		}
	}()
	return watched, func() {
		c.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the goroutine
		<-ended
		c.conn.SetReadDeadline(time.Time{})
		cancel(nil)
		c.waiting.Store(false)
	}
}
