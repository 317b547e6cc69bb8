package link

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// ErrGone means that the link has ended or was replaced by another.
var ErrGone = errors.New("the link has ended")

// maxForwardAnswer bounds the bytes of the states of a forward: one every ten seconds for years.
const maxForwardAnswer = 1 << 30

// graceOfForward is the time that the link has to end a forward.
const graceOfForward = 5 * time.Second

// Forward connects a port of this machine to one of a workspace until ctx ends, and calls each with
// every state. When it returns, this user of the forward has left. It returns ErrGone if the link
// ends first.
func (c *Client) Forward(ctx context.Context, place keyway.Place, name keyway.Name, want ForwardRequest, each func(ForwardState)) error {
	first, err := json.Marshal(want)
	if err != nil {
		return err
	}
	wish, wishing := io.Pipe() // the request ends with this pipe
	asked, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	leave := context.AfterFunc(ctx, func() {
		wishing.Close()
		time.AfterFunc(graceOfForward, cancel)
	})
	defer leave()
	defer wishing.Close()
	to := "http://link/v1/places/" + url.PathEscape(string(place)) + "/workspaces/" + url.PathEscape(string(name)) + "/forward"
	req, err := http.NewRequestWithContext(asked, http.MethodPost, to, io.MultiReader(bytes.NewReader(first), wish))
	if err != nil {
		return err
	}
	resp, err := c.rt.RoundTrip(req)
	if err != nil {
		return cmp.Or(ctx.Err(), errors.Join(ErrGone, err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return api.ReadError(resp)
	}
	for states := json.NewDecoder(io.LimitReader(resp.Body, maxForwardAnswer)); ; {
		var s ForwardState
		if err := states.Decode(&s); err != nil {
			return cmp.Or(ctx.Err(), errors.Join(ErrGone, err))
		}
		if s.Error != nil {
			return s.Error
		}
		if ctx.Err() == nil {
			each(s)
		}
	}
}
