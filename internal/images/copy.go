// Package images brings images to places, from a registry, another place or a file, with the logins
// and the routes that only this laptop has. It runs on the laptop, and uses the API of places;
// package engine/docker/images is the store at a place. Begin with Pull and Copy.
package images

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/plain"
)

// Places reaches the nodes of places.
type Places interface {
	NodeWithEngine(ctx context.Context, place keyway.Place, engine string) (*api.Client, error)
}

// ImageCopy is a copy of an image from one place to another. Load ignores its source, and Save its
// destination: a file takes that part.
type ImageCopy struct {
	Image                string
	From, To             keyway.Place
	FromEngine, ToEngine string // engines; empty: the first that can be used
	Replace              Replace
}

// Replace decides whether an image of a place loses its name to another one. Its error is the
// reason for a refusal. The nil Replace refuses.
type Replace func(place keyway.Place, image string, there keyway.ImageLayers) error

// of asks about the image that there is by that name; of none it does not.
func (r Replace) of(place keyway.Place, image string, there keyway.ImageLayers, err error) error {
	switch {
	case keyway.Is(err, keyway.ImageNotFound):
		return nil
	case err != nil:
		return err
	case r == nil:
		return keyway.Errorf(keyway.NotAllowed, "%s has another image %s", place, image)
	}
	return r(place, image, there)
}

// Copied is the result of a copy.
type Copied struct {
	Image  string       `json:"image"`
	From   keyway.Place `json:"from,omitempty"`
	To     keyway.Place `json:"to,omitempty"`
	File   string       `json:"file,omitempty"` // instead of one of them
	ID     string       `json:"id"`
	Layers int          `json:"layers"` // of the image
	Had    int          `json:"had"`    // of these, that were there already
	Bytes  int64        `json:"bytes"`  // that were sent
	// Nameless reports whether File gives the image no name.
	Nameless bool `json:"-"`
}

// Copy copies an image from one place to another through this laptop. It sends only the
// layers that the other place does not have.
func Copy(ctx context.Context, here Places, c ImageCopy, report func(keyway.Progress)) (Copied, error) {
	done := Copied{Image: c.Image, From: c.From, To: c.To}
	from, err := here.NodeWithEngine(ctx, c.From, c.FromEngine)
	if err != nil {
		return done, err
	}
	to, err := here.NodeWithEngine(ctx, c.To, c.ToEngine)
	if err != nil {
		return done, err
	}
	want, err := from.ImageLayers(ctx, c.FromEngine, c.Image)
	if err != nil {
		return done, err
	}
	done.ID, done.Layers = want.ID, len(want.Layers)
	there, err := to.ImageLayers(ctx, c.ToEngine, c.Image)
	if err == nil && there.SameImage(want) {
		done.Had = done.Layers
		return done, nil
	}
	if err := c.Replace.of(c.To, c.Image, there, err); err != nil {
		return done, err
	}
	if done.Had, err = to.HaveLayers(ctx, c.ToEngine, want.Layers); err != nil {
		return done, err
	}
	err = send(ctx, from, to, c, &done, report)
	if err != nil && done.Had > 0 && ctx.Err() == nil { // it may request layers that it has
		done.Had = 0
		err = send(ctx, from, to, c, &done, report)
	}
	if err == nil && !same(ctx, to, c, want) && ctx.Err() == nil {
		err = keyway.Errorf(keyway.Untrusted, "%s has made another image of %s than %s has", c.To, c.Image, c.From).
			Hint("see what it is there, and remove it: %s image inspect %s", cmp.Or(c.ToEngine, keyway.EngineDocker), plain.Shell(c.Image))
	}
	return done, orEnded(ctx, err)
}

// same reports whether the place has that very image by that name.
func same(ctx context.Context, to *api.Client, c ImageCopy, want keyway.ImageLayers) bool {
	there, err := to.ImageLayers(ctx, c.ToEngine, c.Image)
	return err == nil && there.SameImage(want)
}

func send(ctx context.Context, from, to *api.Client, c ImageCopy, done *Copied, report func(keyway.Progress)) error {
	archive, err := from.ExportImage(ctx, c.FromEngine, c.Image, done.Had)
	if err != nil {
		return err
	}
	counted := &counting{Reader: archive, each: func(n int64) {
		done.Bytes += n
		report(keyway.Progress{Message: "copying " + c.Image, Done: done.Bytes})
	}}
	err = to.ImportImage(ctx, c.ToEngine, c.Image, counted)
	if errors.Is(counted.err, io.EOF) {
		counted.err = nil
	}
	if counted.err != nil { // why the other place complains
		err = cut(c.From, counted.err)
	}
	return errors.Join(err, archive.Close())
}

// reportEvery is the interval at which people see a new number.
const reportEvery = 100 * time.Millisecond

// counting tells how many bytes were read, and keeps why no more were.
type counting struct {
	io.Reader
	each   func(n int64)
	untold int64
	told   time.Time
	err    error
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.err = err
	if c.untold += int64(n); time.Since(c.told) > reportEvery || err != nil {
		c.each(c.untold)
		c.untold, c.told = 0, time.Now()
	}
	return n, err
}
