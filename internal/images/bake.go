package images

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"

	"keyway/internal/api"
	"keyway/internal/bake"
	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/registry"
)

// Bake is an image that is to be made of a base by putting the guest into it.
type Bake struct {
	Base, Tag string
	// Guest returns the guest for an architecture, as Go calls it.
	Guest func(arch string) (bake.Guest, error)
	// Replace is asked about an image of the place that has the tag, and was not baked of
	// the same base.
	Replace Replace
}

// Baked describes the new image.
type Baked struct {
	Image  string       `json:"image"`
	Base   string       `json:"base"`
	Digest string       `json:"base_digest,omitempty"` // by which a registry knows the base
	Place  keyway.Place `json:"place,omitempty"`       // where it is: one of the three
	File   string       `json:"file,omitempty"`
	Pushed string       `json:"pushed,omitempty"` // sha256:…, of the tag's manifest in the registry
	ID     string       `json:"id,omitempty"`     // sha256:…, of its configuration; of one architecture
	Arch   []string     `json:"arch"`
	Bytes  int64        `json:"bytes,omitempty"` // that were sent to the place or into the file
}

// EngineAt is an engine at a place. An empty Engine means the first one that can be used.
type EngineAt struct {
	Node   *api.Client
	Place  keyway.Place
	Engine string
}

// At makes the image with the engine of a place that has the base. A Docker that keeps
// images by itself is sent the guest's layer alone; other engines are sent all of the
// image, which comes from there.
func (b Bake) At(ctx context.Context, at EngineAt, report func(keyway.Progress)) (Baked, error) {
	done := Baked{Image: b.Tag, Base: b.Base, Place: at.Place}
	there := at.Node
	base, guest, err := b.baseAt(ctx, at, &done)
	if err != nil {
		return done, err
	}
	now, err := there.ImageLayers(ctx, at.Engine, b.Tag)
	if last := len(now.Layers) - 1; err != nil || last < 0 || !slices.Equal(now.Layers[:last], base.Layers) {
		if err := b.Replace.of(at.Place, b.Tag, now, err); err != nil {
			return done, err
		}
	}
	have, err := there.HaveLayers(ctx, at.Engine, base.Layers)
	if err != nil {
		return done, err
	}
	report(keyway.Progress{Message: "reading " + b.Base + " at " + string(at.Place)})
	write, from, err := b.writer(ctx, at, base, guest, have, done.Digest)
	if err != nil {
		return done, err
	}
	r, w := io.Pipe()
	var made bake.Baked
	written := make(chan error, 1)
	go func() {
		var err error
		made, err = write(w)
		w.CloseWithError(err)
		written <- err
	}()
	err = there.ImportImage(ctx, at.Engine, b.Tag, &counting{Reader: r, each: func(n int64) {
		done.Bytes += n
		report(keyway.Progress{Message: "baking " + b.Tag, Done: done.Bytes})
	}})
	r.CloseWithError(io.ErrClosedPipe)
	from.Close()
	if bad := <-written; bad != nil && !errors.Is(bad, io.ErrClosedPipe) {
		err = bad
	}
	if err == nil {
		err = b.isThere(ctx, at, base, made)
	}
	done.ID = made.ID
	return done, orEnded(ctx, err)
}

// baseAt returns the base image at the place, and the guest for it.
func (b Bake) baseAt(ctx context.Context, at EngineAt, done *Baked) (keyway.ImageLayers, bake.Guest, error) {
	base, err := at.Node.ImageLayers(ctx, at.Engine, b.Base)
	if err != nil {
		return base, bake.Guest{}, err
	}
	done.Arch = []string{plain.Line(base.Arch)}
	guest, err := b.Guest(base.Arch)
	if err != nil {
		return base, guest, err
	}
	facts, err := at.Node.Facts(ctx, keyway.Spec{Name: "bake", Engine: at.Engine, Image: b.Base})
	if err != nil {
		return base, guest, err
	}
	if d := facts.Engine.Image.Digest; keyway.IsDigest(d) {
		done.Digest = d
	}
	return base, guest, nil
}

// writer returns what writes the archive of the baked image. Where the engine has all
// layers of the base, and a registry its configuration, nothing is read of the base at the
// place: docker save takes a minute for an image of 8 GB.
func (b Bake) writer(ctx context.Context, at EngineAt, base keyway.ImageLayers, guest bake.Guest, have int, digest string) (func(io.Writer) (bake.Baked, error), io.Closer, error) {
	named := bake.Base{Reference: b.Base, Digest: digest}
	if have == len(base.Layers) && digest != "" {
		if p, err := registry.Find(ctx, b.Base, base.Arch); err == nil && idOf(p.Config) == base.ID {
			return func(w io.Writer) (bake.Baked, error) { return guest.Write(w, b.Tag, named, p.Config) }, io.NopCloser(nil), nil
		}
	}
	archive, err := at.Node.ExportImage(ctx, at.Engine, b.Base, have)
	if err != nil {
		return nil, nil, err
	}
	return func(w io.Writer) (bake.Baked, error) { return guest.Rewrite(w, archive, b.Tag, named) }, archive, nil
}

func idOf(config []byte) string {
	sum := sha256.Sum256(config)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// isThere returns an error unless the place has made the image that it was given. Not every
// engine identifies an image by its configuration.
func (b Bake) isThere(ctx context.Context, at EngineAt, base keyway.ImageLayers, made bake.Baked) error {
	got, err := at.Node.ImageLayers(ctx, at.Engine, b.Tag)
	if err == nil && slices.Equal(got.Layers, made.Layers) && (got.ID == made.ID || base.ID != made.Base) {
		return nil
	}
	if err != nil {
		return err
	}
	return keyway.Errorf(keyway.Untrusted, "%s has made another image of %s than it was given", at.Place, b.Tag).
		Hint("see what it is there, and remove it: %s image inspect %s", cmp.Or(at.Engine, keyway.EngineDocker), plain.Shell(b.Tag))
}

// Save writes the image into a file of this laptop, as docker save does, from the base
// that a place has. The file is there when all of it is, and not before.
func (b Bake) Save(ctx context.Context, at EngineAt, file string, report func(keyway.Progress)) (Baked, error) {
	done := Baked{Image: b.Tag, Base: b.Base, File: file}
	_, guest, err := b.baseAt(ctx, at, &done)
	if err != nil {
		return done, err
	}
	archive, err := at.Node.ExportImage(ctx, at.Engine, b.Base, 0)
	if err != nil {
		return done, err
	}
	defer archive.Close()
	counted := &counting{Reader: archive, each: func(n int64) {
		done.Bytes += n
		report(keyway.Progress{Message: "reading " + b.Base + " at " + string(at.Place), Done: done.Bytes})
	}}
	err = whole(ctx, file, func(w io.Writer, _ string) error {
		made, err := guest.Rewrite(w, counted, b.Tag, bake.Base{Reference: b.Base, Digest: done.Digest})
		done.ID = made.ID
		return err
	})
	return done, orEnded(ctx, err)
}

// fetched returns the builds of the base at its registry, with the guest in each.
func (b Bake) fetched(ctx context.Context, arches []string, done *Baked) ([]registry.Build, error) {
	base, err := registry.Fetch(ctx, b.Base, arches)
	if err != nil {
		return nil, err
	}
	if len(base.Builds) == 0 {
		return nil, keyway.Errorf(keyway.ImageNotFound, "%s has no build for linux/%s", b.Base, strings.Join(arches, " or ")).Hint("take another image")
	}
	done.Digest = base.Digest
	for i, build := range base.Builds {
		guest, err := b.Guest(build.Platform.Architecture)
		if err != nil {
			return nil, err
		}
		if base.Builds[i].Image, err = guest.Image(bake.Base{Reference: b.Base, Digest: base.Digest}, build.Image); err != nil {
			return nil, err
		}
		done.Arch = append(done.Arch, build.Platform.Architecture)
	}
	if len(base.Builds) == 1 {
		id, err := base.Builds[0].Image.ConfigName()
		done.ID = id.String()
		return base.Builds, err
	}
	return base.Builds, nil
}

// Push makes the image of the base at its registry, and pushes it, for those of the
// architectures that the base is built for.
func (b Bake) Push(ctx context.Context, arches []string, report func(keyway.Progress)) (Baked, error) {
	done := Baked{Image: b.Tag, Base: b.Base}
	report(keyway.Progress{Message: "asking the registry of " + b.Base})
	builds, err := b.fetched(ctx, arches, &done)
	if err == nil {
		done.Pushed, err = registry.Push(ctx, b.Tag, builds, report)
	}
	return done, orEnded(ctx, err)
}

// SaveFetched is Save of the base at its registry, for one architecture.
func (b Bake) SaveFetched(ctx context.Context, arch, file string, report func(keyway.Progress)) (Baked, error) {
	done := Baked{Image: b.Tag, Base: b.Base, File: file}
	report(keyway.Progress{Message: "asking the registry of " + b.Base})
	builds, err := b.fetched(ctx, []string{arch}, &done)
	if err != nil {
		return done, orEnded(ctx, err)
	}
	err = whole(ctx, file, func(w io.Writer, _ string) error {
		return bake.Save(writing{w, func(n int64) {
			done.Bytes += n
			report(keyway.Progress{Message: "pulling " + b.Base, Done: done.Bytes})
		}}, b.Tag, builds[0].Image)
	})
	return done, orEnded(ctx, err)
}

// writing reports the bytes that are written.
type writing struct {
	io.Writer
	each func(n int64)
}

func (w writing) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.each(int64(n))
	return n, err
}

// orEnded returns err, or the error that the user has interrupted the command.
func orEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
