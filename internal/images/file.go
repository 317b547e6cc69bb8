package images

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"strings"

	"keyway/internal/api"
	"keyway/internal/imagetar"
	"keyway/internal/keyway"
	"keyway/internal/plain"
)

// archive is the description of the one image in a file of docker save.
type archive struct {
	name   string             // the first of its names; may be empty
	is     keyway.ImageLayers // as its configuration says
	layers int
}

// openArchive opens an archive for reading from its beginning, compressed or not.
func openArchive(file string) (io.ReadCloser, error) {
	f, err := keyway.OpenPlainFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, keyway.Errorf(keyway.Usage, "there is no file %s", file).Hint("a place goes without /, and without .tar at its end")
	case errors.Is(err, keyway.ErrNoPlainFile):
		return nil, keyway.Errorf(keyway.Usage, "%s is not a regular file", file).Hint("save it to a file first: docker save IMAGE >image.tar")
	case err != nil:
		return nil, err
	}
	var magic [2]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil || string(magic[:]) != "\x1f\x8b" {
		return f, nil // whose content a reader of tar skips over by seeking
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return readCloser{z, f}, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// readArchive reads what describes an archive, to its end where it is compressed.
func readArchive(file string) (archive, error) {
	r, err := openArchive(file)
	if err != nil {
		return archive{}, err
	}
	defer r.Close()
	a, err := describeArchive(r)
	if err != nil {
		err = keyway.Errorf(keyway.Usage, "%s is not an archive of one image: %w", file, err).Hint("make one: docker save IMAGE >image.tar")
	}
	return a, err
}

// describeArchive reads what describes the image.
func describeArchive(r io.Reader) (archive, error) {
	m, config, err := imagetar.Describe(r, imagetar.Skip)
	if err == nil {
		_, err = io.Copy(io.Discard, r) // compressed data has a checksum at its end
	}
	a := archive{is: described(config), layers: len(m.Layers)}
	if len(m.RepoTags) > 0 {
		a.name = m.RepoTags[0]
	}
	return a, err
}

// described returns the image with a configuration.
func described(config []byte) keyway.ImageLayers {
	var c struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	_ = json.Unmarshal(config, &c) // of an invalid configuration, only the ID is known
	return keyway.ImageLayers{ID: idOf(config), ConfigHash: keyway.ConfigHash(config), Layers: c.RootFS.DiffIDs}
}

// Load has the place c.To load the image in a file. If c.Image is empty, the image keeps its name
// in the file.
func Load(ctx context.Context, here Places, file string, c ImageCopy, report func(keyway.Progress)) (Copied, error) {
	done := Copied{Image: c.Image, File: file, To: c.To}
	a, err := readArchive(file)
	if err != nil {
		return done, err
	}
	if done.Image == "" {
		done.Image = a.name
	}
	if done.Image == "" || len(done.Image) > keyway.MaxReference {
		return done, keyway.Errorf(keyway.Usage, "the image in %s has no name", file).Hint("name one behind the place")
	}
	c.Image = done.Image
	there, err := here.NodeWithEngine(ctx, c.To, c.ToEngine)
	if err != nil {
		return done, err
	}
	done.ID, done.Layers = a.is.ID, a.layers
	now, err := there.ImageLayers(ctx, c.ToEngine, c.Image)
	if err == nil && now.SameImage(a.is) {
		done.Had = done.Layers
		return done, nil
	}
	if err := c.Replace.of(c.To, c.Image, now, err); err != nil {
		return done, err
	}
	r, err := openArchive(file)
	if err != nil {
		return done, err
	}
	defer r.Close()
	counted := &counting{Reader: r, each: func(n int64) {
		done.Bytes += n
		report(keyway.Progress{Message: "copying " + done.Image, Done: done.Bytes})
	}}
	err = there.ImportImage(ctx, c.ToEngine, c.Image, counted)
	if counted.err != nil && !errors.Is(counted.err, io.EOF) { // why the place complains
		err = keyway.Errorf(keyway.Other, "%s cannot be read to its end: %w", file, counted.err)
	}
	if err == nil {
		err = c.check(ctx, there, a.is)
	}
	return done, orEnded(ctx, err)
}

// check returns an error unless the destination has that very image under the copy's name.
func (c ImageCopy) check(ctx context.Context, there *api.Client, is keyway.ImageLayers) error {
	if same(ctx, there, c, is) || ctx.Err() != nil {
		return ctx.Err()
	}
	return keyway.Errorf(keyway.Untrusted, "%s has made another image of %s than the file has", c.To, c.Image).
		Hint("see what it is there, and remove it: %s image inspect %s", cmp.Or(c.ToEngine, keyway.EngineDocker), plain.Shell(c.Image))
}

// Save writes an image of the place c.From into a file, as docker save does. The file appears only
// when it is complete.
func Save(ctx context.Context, here Places, c ImageCopy, file string, report func(keyway.Progress)) (done Copied, err error) {
	done = Copied{Image: c.Image, From: c.From, File: file}
	if err := mayBecome(file); err != nil {
		return done, err
	}
	there, err := here.NodeWithEngine(ctx, c.From, c.FromEngine)
	if err != nil {
		return done, err
	}
	want, err := there.ImageLayers(ctx, c.FromEngine, c.Image)
	if err != nil {
		return done, err
	}
	done.ID, done.Layers = want.ID, len(want.Layers)
	r, err := there.ExportImage(ctx, c.FromEngine, c.Image, 0)
	if err != nil {
		return done, err
	}
	defer r.Close()
	err = whole(ctx, file, func(w io.Writer, part string) error {
		out := packed(w, file)
		_, err := io.Copy(out, &counting{Reader: r, each: func(n int64) {
			done.Bytes += n
			report(keyway.Progress{Message: "copying " + c.Image, Done: done.Bytes})
		}})
		err = errors.Join(err, out.Close())
		if err = cut(c.From, errors.Join(err, r.Close())); err != nil {
			return err
		}
		a, err := readArchive(part)
		if err != nil || !a.is.SameImage(want) {
			return keyway.Errorf(keyway.Untrusted, "%s has sent another image than %s", c.From, c.Image).Hint("nothing was kept of it")
		}
		done.Nameless = a.name == ""
		return nil
	})
	return done, orEnded(ctx, err)
}

// packed returns a writer to w that compresses if the file's name demands it.
func packed(w io.Writer, file string) io.WriteCloser {
	if strings.HasSuffix(file, "gz") {
		if z, err := gzip.NewWriterLevel(w, gzip.BestSpeed); err == nil {
			return z
		}
	}
	return unpacked{w}
}

type unpacked struct{ io.Writer }

func (unpacked) Close() error { return nil }
