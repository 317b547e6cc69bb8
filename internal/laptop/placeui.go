package laptop

import (
	"context"
	"strings"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// placeUI is the person for one place: every question says for
// which place it is, and however many places are reached at once, there is one
// question at a time.
type placeUI struct {
	UI
	place keyway.Place
	// before is called when a question has come, and refuses it by an error; after
	// when it has been answered. Both may be nil.
	before func(api.Question) error
	after  func()
}

// at returns the person for one place.
func (here *Laptop) at(place keyway.Place) placeUI { return placeUI{UI: here.UI, place: place} }

// Heard shows a node's messages about its progress as the place's words, because they would look
// like keyway's own messages otherwise.
func (here *Laptop) Heard(place keyway.Place) func(keyway.Progress) {
	return func(p keyway.Progress) {
		if place != keyway.Local {
			p.Message = string(place) + ": " + p.Message
		}
		here.UI.Progress(p)
	}
}

// oneQuestion holds a value while a question is open.
var oneQuestion = make(chan struct{}, 1)

// Ask implements link.UI.
func (u placeUI) Ask(ctx context.Context, q api.Question) (api.Answer, error) {
	if u.before != nil {
		if err := u.before(q); err != nil {
			return api.Answer{}, err
		}
	}
	if u.after != nil {
		defer u.after()
	}
	select {
	case oneQuestion <- struct{}{}:
		defer func() { <-oneQuestion }()
	case <-ctx.Done():
		return api.Answer{}, nil
	}
	if place := string(u.place); q.Host == "" || q.Host == place {
		q.Host = place
	} else {
		q.Host += ": " + place
	}
	answer, err := u.UI.Ask(ctx, q)
	if e := keyway.AsError(err); e != nil {
		return answer, e.Hint("%s", strings.ReplaceAll(e.Next, "PLACE", string(u.place)))
	}
	return answer, nil
}
