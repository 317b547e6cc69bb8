// Package layers fetches layers of images from a registry to a place, on the node. The received
// part of an interrupted layer stays there, and the next attempt requests the rest. No data is
// passed on before its digest has been verified. Begin with Store.
package layers

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"keyway/internal/filelock"
	"keyway/internal/keyway"
)

// Bounds on fetching.
const (
	atOnce   = 3                  // layers that are fetched at the same time
	keptFor  = 3 * 24 * time.Hour // how long an unused part stays
	perCheck = 100 * time.Millisecond
)

// Store is a directory of the owner's that holds layers until an engine has them.
type Store struct {
	Dir string
	// Stall is the time for which a registry may send nothing, Pause the time between two
	// attempts. Zero values mean the defaults; others are for tests.
	Stall, Pause time.Duration
}

// Held are layers in a Store, which no other process changes until Close.
type Held struct {
	files []*os.File
}

// Fetch brings the layers of p from the one with that index on into the store. report is called
// from one goroutine at a time, and not after Fetch has returned. The caller must close the Held.
func (s Store) Fetch(ctx context.Context, p keyway.Pull, from int, report func(keyway.Progress)) (*Held, error) {
	if err := errors.Join(p.Validate(), checkAddress(p)); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, err
	}
	s.sweep(time.Now())
	held, err := s.hold(ctx, p, from)
	if err == nil {
		f := &fetch{Store: s, pull: p, client: newClient(), told: newTeller(p, from, report)}
		err = f.all(ctx, held)
	}
	if err != nil {
		return nil, errors.Join(err, held.after(err))
	}
	return held, nil
}

// after closes the files after a failure. It leaves them for the next try, unless they may be what
// fills the disk.
func (h *Held) after(err error) error {
	if keyway.Is(err, keyway.NoSpace) || keyway.IsNoSpace(err) {
		return h.Close()
	}
	return h.keep()
}

// hold opens the files of the layers, always in the same order: two that fetch images
// with the same layers wait for one another, and never each for the other.
func (s Store) hold(ctx context.Context, p keyway.Pull, from int) (*Held, error) {
	held := &Held{files: make([]*os.File, len(p.Layers))}
	order := once(p.Layers, from)
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(p.Layers[a].Digest, p.Layers[b].Digest) })
	for _, i := range order {
		var err error
		if held.files[i], err = s.open(ctx, p.Layers[i]); err != nil {
			return held, err
		}
	}
	return held, nil
}

// all fetches the layers that are held, some at once.
func (f *fetch) all(ctx context.Context, held *Held) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer f.client.CloseIdleConnections()
	todo := make(chan int)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for i := range todo {
				if err := f.fill(ctx, held.files[i], f.pull.Layers[i]); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i, file := range held.files {
		if file != nil && ctx.Err() == nil {
			todo <- i
		}
	}
	close(todo)
	workers.Wait()
	return context.Cause(ctx)
}

// once returns the indices of the layers to fetch: an image may have one twice.
func once(all []keyway.Layer, from int) (indices []int) {
	seen := map[string]bool{}
	for i := from; i < len(all); i++ {
		if !seen[all[i].Digest] {
			seen[all[i].Digest] = true
			indices = append(indices, i)
		}
	}
	return indices
}

// keep closes the files and leaves them for the next try.
func (h *Held) keep() error {
	var errs []error
	for _, f := range h.files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// Close removes the layers: the engine has loaded them, or has refused them.
func (h *Held) Close() error {
	for _, f := range h.files {
		if f != nil {
			_ = os.Remove(f.Name())
		}
	}
	return h.keep()
}

// sweep removes parts that have not been used for keptFor.
func (s Store) sweep(now time.Time) {
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		st, err := e.Info()
		if err != nil || !st.Mode().IsRegular() || now.Sub(st.ModTime()) < keptFor {
			continue
		}
		f, err := os.Open(filepath.Join(s.Dir, e.Name()))
		if err != nil {
			continue
		}
		if filelock.Try(f, filelock.Exclusive) == nil {
			_ = os.Remove(f.Name())
		}
		f.Close()
	}
}

// open opens the part of a layer, alone: another node may be fetching the same.
func (s Store) open(ctx context.Context, l keyway.Layer) (*os.File, error) {
	path := filepath.Join(s.Dir, strings.TrimPrefix(l.Digest, "sha256:"))
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if filelock.Try(f, filelock.Exclusive) == nil && isStill(f, path) {
			return f, nil
		}
		f.Close()
		select { // the other has the layer soon, or fails
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(perCheck):
		}
	}
}

// isStill reports whether path still leads to f: the previous holder may have removed it.
func isStill(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}
