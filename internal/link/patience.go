package link

import (
	"context"
	"fmt"
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
		return p.RoundTripper.RoundTrip(req) // it goes on for as long as its body
	}
	ctx, giveUp := context.WithCancelCause(req.Context())
	answered := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() { p.tell(answered, api.IsQuestion(req.Method, req.URL.Path), giveUp) })
	resp, err := p.RoundTripper.RoundTrip(req.WithContext(ctx))
	close(answered)
	telling.Wait()
	if err != nil && context.Cause(ctx) == errNoAnswer {
		err = keyway.Errorf(keyway.Unreachable, "%s has %w", p.place, errNoAnswer).Advise(keyway.SeePlace, string(p.place))
	}
	return resp, err // ctx ends with the request's own
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
