package link

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/proctree"
)

// Bounds on the time for a link's first answer, which it normally gives at once. A stopped link
// accepts connections but does not answer.
const (
	answerNotice = time.Second      // until the user is told
	answerLimit  = 10 * time.Second // until the command gives up
)

var errUnanswered = errors.New("the link does not answer")

// Unanswered reports whether err means that the link runs but does not answer.
func Unanswered(err error) bool { return errors.Is(err, errUnanswered) }

// first is Status for a link that may not answer at all. report, if not nil, is called if that
// takes long.
func (c *Client) first(ctx context.Context, report func(keyway.Progress)) (Status, error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	answered := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { c.watchAnswer(answered, giveUp, report) })
	s, err := c.Status(ctx)
	close(answered)
	watching.Wait()
	if cause := context.Cause(ctx); err != nil && Unanswered(cause) {
		err = cause
	}
	giveUp(nil)
	return s, err
}

// watchAnswer gives up on a link that is stopped or has not answered for long.
func (c *Client) watchAnswer(answered <-chan struct{}, giveUp context.CancelCauseFunc, report func(keyway.Progress)) {
	limit := time.NewTimer(answerLimit)
	defer limit.Stop()
	select {
	case <-answered:
		return
	case <-time.After(answerNotice):
	}
	pid := c.pid()
	if proctree.IsStopped(pid) {
		giveUp(stoppedLink(pid))
		return
	}
	if report == nil {
		report = func(keyway.Progress) {}
	}
	report(keyway.Progress{Message: fmt.Sprintf("%v; waiting for it", errUnanswered)})
	select {
	case <-answered:
	case <-limit.C:
		giveUp(keyway.Errorf(keyway.Other, "%w, and that for %v", errUnanswered, answerLimit).Advise(keyway.EndLink))
	}
}

// pid returns the pid of the link; 0 if the system does not report it.
func (c *Client) pid() int {
	conn, err := dialLink(c.socket)
	if err != nil {
		return 0
	}
	defer conn.Close()
	return peerPID(conn)
}

// End ends the link with all its streams, even one that does not answer. It returns when the link
// has ended, and reports whether there was one.
func End(ctx context.Context, runtime string, report func(keyway.Progress)) (bool, error) {
	c, err := Running(ctx, runtime, report)
	switch {
	case err == nil:
		return true, c.Stop(ctx)
	case !Unanswered(err):
		return false, ctx.Err()
	}
	process, err := os.FindProcess(c.pid())
	if err == nil {
		err = process.Kill()
	}
	if err != nil {
		return true, keyway.Errorf(keyway.Other, "the link does not answer, and cannot be killed: %w", err)
	}
	return true, awaitGone(ctx, c.socket)
}
