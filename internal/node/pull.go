package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/layers"
)

// PullImage implements api.Node. An engine that forgets interrupted layers is given complete ones.
// When it is then told to pull the image, it finds them, and asks the registry only for the image's
// name.
func (n *Node) PullImage(ctx context.Context, engineName string, p keyway.Pull, report func(keyway.Progress)) error {
	k, err := n.keeper(ctx, engineName, p.Image)
	if err != nil {
		return err
	}
	_, all, err := n.published.read()
	if err != nil {
		return err
	}
	if all.Naming(p.Image, k.SameName) != "" { // the name belongs to the operators: a laptop's statement about it does not define the image
		p = keyway.Pull{Image: p.Image, Login: p.Login}
	}
	have, err := n.missing(ctx, k, p, report)
	if err != nil {
		return err
	}
	brought := p.Found() && k.ForgetsParts(ctx)
	if brought {
		var unreached layers.UnreachedError
		switch err := n.bring(ctx, k, p, have, report); {
		case errors.As(err, &unreached): // the engine may have a proxy of its own
			brought = false
		case err != nil:
			return err
		}
	}
	err = k.PullImage(ctx, p.Image, p.Login, report)
	if err == nil || !brought || ctx.Err() != nil {
		return err
	}
	if l, there := k.ImageLayers(ctx, p.Image); there == nil && l.ID == idOf(p) {
		return nil // the node reached the registry, but the engine does not
	}
	if p.Login.Token != "" { // the token may have expired meanwhile
		return keyway.Errorf(keyway.Denied, "%w", err).Hint("%s", keyway.AsError(err).Next)
	}
	return err
}

// idOf returns the ID of the image: the digest of its configuration.
func idOf(p keyway.Pull) string {
	sum := sha256.Sum256(p.Config)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// missing reports how much will be downloaded and how much space there is. It returns the number of
// lowest layers that the engine has.
func (n *Node) missing(ctx context.Context, k imageKeeper, p keyway.Pull, report func(keyway.Progress)) (have int, err error) {
	if !p.Found() {
		return 0, nil
	}
	if have, err = k.HaveLayers(ctx, p.DiffIDs()); err != nil {
		return 0, err
	}
	size := p.Size(have)
	if size == 0 {
		return have, nil
	}
	words := fmt.Sprintf("%s: %s in %d of %d layers are to come", p.Image, bytesText(size), len(p.Layers)-have, len(p.Layers))
	free := n.free(ctx, k, p.Image)
	if free > 0 {
		words += ", " + bytesText(free) + " are free"
	}
	report(keyway.Progress{Message: words})
	if free > 0 && size > free {
		return have, keyway.Errorf(keyway.NoSpace, "%s needs %s before it is unpacked, and %s are free where images lie", p.Image, bytesText(size), bytesText(free)).
			Hint("see what takes it, at the place: docker system df")
	}
	return have, nil
}

// free returns the free space for images, in bytes; 0 if unknown.
func (n *Node) free(ctx context.Context, k imageKeeper, image string) int64 {
	teller, ok := k.(factTeller)
	if !ok {
		return 0
	}
	f, err := teller.Facts(ctx, image)
	if err != nil {
		return 0
	}
	return f.Free
}

// bring downloads the layers from index have on, and gives them to the engine. If it is
// interrupted, the downloaded bytes stay for the next attempt.
func (n *Node) bring(ctx context.Context, k imageKeeper, p keyway.Pull, have int, report func(keyway.Progress)) error {
	store := layers.Store{Dir: filepath.Join(filepath.Dir(n.homes.Dir()), "layers")}
	held, err := store.Fetch(ctx, p, have, report)
	if err != nil {
		return err
	}
	report(keyway.Progress{Message: "unpacking " + p.Image})
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() { // ends with the archive, or when r is closed
		err := held.Archive(w, p)
		w.CloseWithError(err)
		written <- err
	}()
	name := p.Image
	if strings.Contains(name, "@") {
		name = "" // the engine assigns the digest by itself
	}
	err = k.ImportImage(ctx, name, r)
	r.CloseWithError(io.ErrClosedPipe)
	if bad := <-written; bad != nil && !errors.Is(bad, io.ErrClosedPipe) {
		err = bad
	}
	return errors.Join(err, held.Close())
}

// bytesText formats a size for people.
func bytesText(n int64) string {
	const k, m, g = 1e3, 1e6, 1e9
	switch f := float64(n); {
	case f >= g:
		return fmt.Sprintf("%.1f GB", f/g)
	case f >= m:
		return fmt.Sprintf("%.0f MB", f/m)
	default:
		return fmt.Sprintf("%.0f kB", f/k)
	}
}
