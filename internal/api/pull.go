package api

import (
	"context"
	"net/http"

	"keyway/internal/keyway"
)

// PullRequest is the body of a request for a pull. It may contain a login, so it is not stored
// anywhere.
type PullRequest struct {
	Engine string `json:"engine,omitempty"`
	keyway.Pull
}

func (h handler) pullImage(w http.ResponseWriter, r *http.Request) {
	var q PullRequest
	err := ReadJSON(r.Body, maxSpec, &q)
	if err == nil {
		err = q.Validate()
	}
	if err != nil {
		WriteError(w, err)
		return
	}
	events := NewEventWriter(w)
	err = h.node.PullImage(r.Context(), q.Engine, q.Pull, func(p keyway.Progress) { events.Send(Event{Progress: &p}) })
	if err != nil {
		events.Send(Event{Error: keyway.AsTold(err)})
		return
	}
	events.Send(Event{Done: true})
}

// PullImage implements Node.
func (c *Client) PullImage(ctx context.Context, engine string, p keyway.Pull, report func(keyway.Progress)) error {
	_, err := c.Events(ctx, "POST", "/v1/images/pull", PullRequest{engine, p}, func(e Event) {
		if e.Progress != nil {
			report(*e.Progress)
		}
	})
	return err
}
