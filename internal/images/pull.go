package images

import (
	"context"
	"errors"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/registry"
)

// renewals bounds how often a pull continues with a new token: registries issue them for minutes.
const renewals = 100

// Want is an image that a place is to get with this laptop's login.
type Want struct {
	Image, Engine string // no engine: the first that can be used
	// Whole reports whether the login itself may go to the place if its engine takes no tokens. The
	// user's command decides, because a place could name any engine as its own.
	Whole bool
}

// Pull has a place get an image that it does not have, with the login that docker login stores on
// this laptop. The place gets the login for this pull only and, if the registry gives tokens, only
// such a token. If the laptop cannot answer a question of the registry's, the place pulls by
// itself, and Left returns the reason. heard receives the place's reports, and said those of this
// laptop.
func Pull(ctx context.Context, there *api.Client, place keyway.Place, w Want, heard, said func(keyway.Progress)) error {
	_, err := there.ImageLayers(ctx, w.Engine, w.Image)
	if err == nil || !keyway.Is(err, keyway.ImageNotFound) {
		return left(err)
	}
	domain, err := registry.Domain(w.Image)
	if err != nil {
		return left(err)
	}
	if place != keyway.Local && registry.OfThisMachine(domain) {
		return nil // which is another one there
	}
	info, err := there.Info(ctx)
	if err != nil {
		return left(err)
	}
	for range renewals {
		began := time.Now()
		p, err := toPull(ctx, info, w, said)
		if err != nil {
			return left(err)
		}
		if p.Login.Password != "" || p.Login.IdentityToken != "" {
			said(keyway.Progress{Message: "the login for " + p.Login.Registry + " goes to " + string(place) + " for this pull"})
		}
		err = there.PullImage(ctx, w.Engine, p, heard)
		if p.Login.Token == "" || !keyway.Is(err, keyway.Denied) || time.Since(began) < minToken {
			return err
		}
	}
	return keyway.Errorf(keyway.Denied, "the registry of %s refuses each token after a moment", w.Image)
}

// minToken is the least that a token lasts. One that is refused earlier was never good.
const minToken = 10 * time.Second

// left marks an error as one after which the place may still succeed.
func left(err error) error {
	if err == nil {
		return nil
	}
	return &LeftError{err}
}

// LeftError says why the laptop has left a pull to the place.
type LeftError struct{ err error }

func (e *LeftError) Error() string { return e.err.Error() }
func (e *LeftError) Unwrap() error { return e.err }

// toPull returns the request for the engine at the place. Podman takes no tokens.
func toPull(ctx context.Context, info api.Info, w Want, said func(keyway.Progress)) (keyway.Pull, error) {
	p, err := registry.Find(ctx, w.Image, info.Arch)
	if silent := (registry.SilentError{}); errors.As(err, &silent) { // the place may be nearer
		login, err := registry.Stored(ctx, w.Image)
		return keyway.Pull{Image: w.Image, Login: login}, err
	}
	if err != nil || p.Login.Token == "" || engineOf(info, w.Engine) != keyway.EnginePodman {
		return p, err
	}
	p.Login, p.Layers = keyway.Login{}, nil
	login, err := registry.Stored(ctx, w.Image)
	if err != nil || login.None() {
		return p, err
	}
	if w.Whole {
		p.Login = login
	} else {
		said(keyway.Progress{Message: "your login for " + login.Registry + " stays here: Podman takes no tokens, and gets the login itself only if you name it as the engine"})
	}
	return p, nil
}

// engineOf returns the engine that will make containers.
func engineOf(info api.Info, named string) string {
	for _, e := range info.Engines {
		if named == e.Name || named == "" && e.Usable && keyway.UsesImages(e.Name) {
			return e.Name
		}
	}
	return named
}

// Left returns the reason why the laptop left a pull to the place, and reports whether it did.
func Left(err error) (why error, did bool) {
	var l *LeftError
	if errors.As(err, &l) {
		return l.err, true
	}
	return nil, false
}
