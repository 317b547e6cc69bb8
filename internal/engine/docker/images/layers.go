package images

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"keyway/internal/engine/docker/daemon"
	"keyway/internal/keyway"
)

// maxImages bounds the images that are searched for present layers.
const maxImages = 512

// ImageLayers returns the layers of a present image.
func (s *Store) ImageLayers(ctx context.Context, image string) (keyway.ImageLayers, error) {
	d, err := s.client.Identify(ctx)
	if err != nil {
		return keyway.ImageLayers{}, err
	}
	if _, err := reference.ParseAnyReference(image); err != nil || len(image) > keyway.MaxReference {
		return keyway.ImageLayers{}, keyway.Errorf(keyway.Usage, "%.100q cannot be an image", image).Advise(keyway.Example, "image", exampleImage)
	}
	found, err := s.client.ImageInspect(ctx, image)
	if daemon.IsNotFound(err) {
		return keyway.ImageLayers{}, keyway.Errorf(keyway.ImageNotFound, "%s has no image %s", d.Title(), image).
			Hint("see which there are, at the place: %s image ls", d.Name())
	}
	if err != nil {
		return keyway.ImageLayers{}, s.client.Explain(ctx, err)
	}
	return keyway.ImageLayers{
		Reference: image, ID: digestOnly(found.ID), ConfigHash: configHash(found.InspectResponse), Arch: found.Architecture, Layers: found.RootFS.Layers, Size: found.Size,
	}, nil
}

// configHash returns the keyway.ConfigHash of an image's configuration.
func configHash(found image.InspectResponse) string {
	told := map[string]any{"os": found.Os, "architecture": found.Architecture, "config": found.Config}
	if found.Created != "" {
		told["created"] = found.Created
	}
	config, err := json.Marshal(told)
	if err != nil {
		return ""
	}
	return keyway.ConfigHash(config)
}

// HaveLayers returns the number of these layers, from the lowest on, that an archive to import here
// may omit.
func (s *Store) HaveLayers(ctx context.Context, layers []string) (int, error) {
	d, err := s.client.Identify(ctx)
	if err != nil {
		return 0, err
	}
	said, err := s.client.Said(ctx)
	if err != nil {
		return 0, err
	}
	if d.Podman || byContainerd(said) {
		return 0, nil // they need every file that an archive names
	}
	all, err := s.client.ImageList(ctx, client.ImageListOptions{})
	if err != nil {
		return 0, s.client.Explain(ctx, err)
	}
	most := 0
	for _, i := range all.Items[:min(len(all.Items), maxImages)] {
		found, err := s.client.ImageInspect(ctx, i.ID)
		if daemon.IsNotFound(err) {
			continue
		}
		if err != nil {
			return 0, s.client.Explain(ctx, err)
		}
		most = max(most, common(found.RootFS.Layers, layers))
	}
	return most, nil
}

// byContainerd reports whether a Docker daemon keeps its images in containerd.
func byContainerd(host system.Info) bool {
	return slices.ContainsFunc(host.DriverStatus, func(kv [2]string) bool { return strings.Contains(kv[1], "io.containerd.snapshotter") })
}

// common returns the number of layers, from the lowest on, that two images share.
func common(a, b []string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// ExportImage returns an archive of the image, without the files of its lowest layers. The caller
// closes it.
func (s *Store) ExportImage(ctx context.Context, image string, without int) (io.ReadCloser, error) {
	if _, err := s.ImageLayers(ctx, image); err != nil {
		return nil, err
	}
	save := func() (io.ReadCloser, error) {
		archive, err := s.client.ImageSave(ctx, []string{image})
		if err != nil {
			return nil, s.client.Explain(ctx, err)
		}
		return archive, nil
	}
	if without <= 0 {
		return save()
	}
	// The archive names the layers' files only at its end, so it is read twice.
	first, err := save()
	if err != nil {
		return nil, err
	}
	o, err := outlineOf(first)
	if err = errors.Join(err, first.Close()); err != nil {
		return nil, s.client.Explain(ctx, err)
	}
	second, err := save()
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	go func() { // ends with the archive, or when the reader is closed
		w.CloseWithError(errors.Join(withoutLayers(w, second, o, without), second.Close()))
	}()
	return r, nil
}

// ImportImage loads an archive of one image, under that name only; an empty name means none.
func (s *Store) ImportImage(ctx context.Context, image string, archive io.Reader) error {
	d, err := s.client.Identify(ctx)
	if err != nil {
		return err
	}
	name, err := importName(image)
	if err != nil {
		return err
	}
	if d.Podman && name != "" {
		name = s.builtName(ctx, image, name)
	}
	r, w := io.Pipe()
	filtered := make(chan error, 1)
	go func() {
		err := named(w, archive, name)
		w.CloseWithError(err)
		filtered <- err
	}()
	err = s.load(ctx, r)
	r.CloseWithError(io.ErrClosedPipe)
	if bad := <-filtered; bad != nil && !errors.Is(bad, io.ErrClosedPipe) {
		err = bad
	}
	switch {
	case err == nil, ctx.Err() != nil:
		return ctx.Err()
	case client.IsErrConnectionFailed(err):
		return s.client.Unusable(err)
	case daemon.SaysNoSpace(err.Error()):
		return daemon.NoSpace(d, daemon.Says(err))
	}
	return keyway.Errorf(keyway.Other, "%s has not taken the image %s: %s", d.Title(), image, daemon.Says(err)).Hint("see its log, at the place: journalctl -u %s", d.Name())
}

// importName returns the full name for an archive's image.
func importName(image string) (string, error) {
	if image == "" {
		return "", nil
	}
	ref, err := reference.ParseNormalizedNamed(image)
	if err != nil || len(image) > keyway.MaxReference {
		return "", keyway.Errorf(keyway.Usage, "%.100q cannot be the name of an image", image).Advise(keyway.Example, "image", exampleImage)
	}
	if _, digested := ref.(reference.Digested); digested {
		return "", keyway.Errorf(keyway.Usage, "%s has a digest, which only a registry gives", image).Hint("name a tag: %s:TAG", reference.FamiliarName(ref))
	}
	return reference.TagNameOnly(ref).String(), nil
}

// builtName returns Podman's name for an image that was built there: it is called localhost/NAME
// and takes precedence over the image with the full name.
func (s *Store) builtName(ctx context.Context, image, whole string) string {
	path, short := strings.CutPrefix(whole, "docker.io/")
	if !short || strings.Contains(image, "docker.io/") {
		return whole
	}
	built := "localhost/" + strings.TrimPrefix(path, "library/")
	found, err := s.client.ImageInspect(ctx, image)
	if err == nil && slices.Contains(found.RepoTags, built) {
		return built
	}
	return whole
}

// SameName reports whether an image that is imported under one name is found under the other, as
// Docker and Podman complete names.
func (s *Store) SameName(a, b string) bool {
	one, err := importName(a)
	two, bad := importName(b)
	return err == nil && bad == nil && one != "" && local(one) == local(two)
}

// local returns a full name without the domain that an engine adds. Podman's is localhost for
// images that it has built.
func local(name string) string {
	return strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(name, "localhost/"), "docker.io/"), "library/")
}

// load sends an archive to the daemon, and reads its messages to the end.
func (s *Store) load(ctx context.Context, archive io.Reader) error {
	news, err := s.client.ImageLoad(ctx, archive, client.ImageLoadWithQuiet(true))
	if err != nil {
		return err
	}
	defer news.Close()
	lines := bufio.NewScanner(news)
	lines.Buffer(nil, maxPullLine)
	for lines.Scan() {
		var m jsonstream.Message
		if json.Unmarshal(lines.Bytes(), &m) == nil && m.Error != nil {
			return m.Error
		}
	}
	return lines.Err()
}
