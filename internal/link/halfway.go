package link

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/proctree"
)

// stopLook is the interval at which a waiting command checks whether the link is stopped (SIGSTOP).
// After two such checks in a row, it gives up.
const stopLook = answerLimit / 2

// whileRunning returns a context that ends when ctx ends or the link has been stopped for a while.
// In the latter case its cause is the error that says so. The caller calls end, once or more.
func (c *Client) whileRunning(ctx context.Context) (_ context.Context, end func()) {
	ctx, giveUp := context.WithCancelCause(ctx)
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { c.lookStopped(over, giveUp) })
	return ctx, sync.OnceFunc(func() {
		close(over)
		watching.Wait()
		giveUp(nil)
	})
}

func (c *Client) lookStopped(over <-chan struct{}, giveUp context.CancelCauseFunc) {
	tick := time.NewTicker(cmp.Or(c.look, stopLook))
	defer tick.Stop()
	for before := 0; ; {
		select {
		case <-over:
			return
		case <-tick.C:
		}
		pid := c.pid()
		switch {
		case !proctree.IsStopped(pid):
			before = 0
		case before == pid:
			giveUp(stoppedLink(pid))
			return
		default:
			before = pid
		}
	}
}

func stoppedLink(pid int) error {
	return keyway.Errorf(keyway.Other, "%w: its process %d is stopped", errUnanswered, pid).
		Advise(keyway.ContinueLink, strconv.Itoa(pid)).Advise(keyway.EndLink)
}

// orStopped returns err, or the error that the link is stopped if that is the cause.
func orStopped(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && Unanswered(cause) {
		return cause
	}
	return err
}

// untilStopped is a command's transport to the link. It bounds all waiting for a link that was
// stopped after it had answered.
type untilStopped struct{ c *Client }

// RoundTrip implements http.RoundTripper.
func (w untilStopped) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, end := w.c.whileRunning(req.Context())
	resp, err := w.c.rt.RoundTrip(req.WithContext(ctx))
	if err != nil {
		err = orStopped(ctx, err)
		end()
		return nil, err
	}
	resp.Body = &untilStoppedBody{resp.Body, ctx, end}
	return resp, nil
}

type untilStoppedBody struct {
	io.ReadCloser
	ctx context.Context
	end func()
}

// Read implements io.Reader.
func (b *untilStoppedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		return n, err
	}
	return n, orStopped(b.ctx, err)
}

// Close implements io.Closer.
func (b *untilStoppedBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}
