package link

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// A node may answer pings, and yet not a request: a file system that its handler reads may hang.
const (
	requestNotice = 10 * time.Second // between two reports that a request is not answered yet
	questionLimit = 3 * time.Minute  // until a question is given up; see api.IsQuestion
)

var errNoAnswer = fmt.Errorf("not answered within %v", questionLimit)

// patient is a command's transport to the node of a place. It reports that an answer takes long.
type patient struct {
	http.RoundTripper
	place  keyway.Place
	report func(keyway.Progress)
}

// RoundTrip implements http.RoundTripper.
func (p patient) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil && req.ContentLength <= 0 {
		return p.RoundTripper.RoundTrip(req) // it lasts as long as its body
	}
	ctx, giveUp := context.WithCancelCause(req.Context()) // ctx ends with the request's own
	question := api.IsQuestion(req.Method, req.URL.Path)
	answered := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() { p.tell(answered, question, giveUp) })
	body := &answer{ctx: ctx, place: p.place, end: sync.OnceFunc(func() {
		close(answered)
		telling.Wait()
	})}
	resp, err := p.RoundTripper.RoundTrip(req.WithContext(ctx))
	if err != nil || !question { // an answer to an order may be news of it, for as long as that takes
		body.end()
		return resp, body.reason(err)
	}
	body.ReadCloser, resp.Body = resp.Body, body
	return resp, nil
}

// answer is the body of an answer that is waited for until it is closed.
type answer struct {
	io.ReadCloser
	ctx   context.Context
	place keyway.Place
	end   func() // of the waiting
}

// Read implements io.Reader.
func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	return n, a.reason(err)
}

// Close implements io.Closer.
func (a *answer) Close() error {
	a.end()
	return a.ReadCloser.Close()
}

// reason returns why the request has failed.
func (a *answer) reason(err error) error {
	if err != nil && context.Cause(a.ctx) == errNoAnswer {
		err = keyway.Errorf(keyway.Unreachable, "%s has %w", a.place, errNoAnswer).Advise(keyway.SeePlace, string(a.place))
	}
	return err
}

// tell reports from time to time that there is no answer yet, and gives up a question after
// questionLimit. Other requests may take as long as an engine.
func (p patient) tell(answered <-chan struct{}, question bool, giveUp context.CancelCauseFunc) {
	tick := time.NewTicker(requestNotice)
	defer tick.Stop()
	for waited := requestNotice; ; waited += requestNotice {
		select {
		case <-answered:
			return
		case <-tick.C:
		}
		if question && waited >= questionLimit {
			giveUp(errNoAnswer)
			return
		}
		p.report(keyway.Progress{Message: fmt.Sprintf("%s has not answered yet; waiting for %d s", p.place, int(waited.Seconds()))})
	}
}
