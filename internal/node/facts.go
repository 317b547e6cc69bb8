package node

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"keyway/internal/engine"
	"keyway/internal/gpu"
	"keyway/internal/keyway"
)

// factTeller is an engine that reports the facts that decide whether a workspace will run on it.
type factTeller interface {
	// Facts returns facts about the platform, and about the image if it is present.
	Facts(ctx context.Context, image string) (keyway.EngineFacts, error)
}

// refuser is an engine that can say beforehand that it makes no workspace of a Spec.
type refuser interface {
	Refuses(ctx context.Context, s keyway.Spec) error
}

// Facts implements api.Node.
func (n *Node) Facts(ctx context.Context, s keyway.Spec) (keyway.Facts, error) {
	f := keyway.Facts{Arch: runtime.GOARCH, Time: time.Now().UTC(), UID: os.Getuid(), NoGuest: keyway.AsError(n.guest())}
	e, err := n.choose(ctx, s, func(keyway.Progress) {})
	if ctx.Err() != nil {
		return f, ctx.Err()
	}
	f.Engine = n.engineFacts(ctx, e, s, err)
	if r, ok := e.(refuser); ok && f.Engine.Why == nil {
		s.AuthorizedKeys = []string{"key"} // which a check has none of
		f.Refused = keyway.AsError(r.Refuses(ctx, s))
	}
	if f.Engine.RemoteDaemon == "" {
		f.Mounts = mountFacts(s.Mounts)
	}
	here := machine{root: "/"}
	f.Memory, f.HardLimits = here.memory(), engine.HardLimits()
	if !s.GPUs.None() {
		f.Driver = gpu.Driver(ctx)
	}
	return f, ctx.Err()
}

func (n *Node) engineFacts(ctx context.Context, e engine.Engine, s keyway.Spec, why error) keyway.EngineFacts {
	if why != nil {
		return keyway.EngineFacts{Name: s.Engine, Why: keyway.AsError(why), Images: s.Image != ""}
	}
	var f keyway.EngineFacts
	if teller, ok := e.(factTeller); ok {
		image := s.Image
		if image == "" {
			image = keyway.DefaultImage
		}
		var err error
		if f, err = teller.Facts(ctx, image); err != nil {
			f.Why = keyway.AsError(err)
		}
	}
	f.Name, f.Images = e.Name(), keyway.UsesImages(e.Name())
	return f
}

// mountFacts returns the facts about the files and directories of this machine that would be
// mounted.
func mountFacts(mounts []keyway.Mount) []keyway.MountFacts {
	var all []keyway.MountFacts
	for _, m := range mounts {
		if m.Kind != keyway.MountBind || slices.ContainsFunc(all, func(f keyway.MountFacts) bool { return f.Source == m.Source }) {
			continue
		}
		_, err := os.Stat(m.Source)
		absent := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) // else it may be out of sight
		f := keyway.MountFacts{Source: m.Source, Exists: !absent}
		f.Readable, f.Writable = access(m.Source)
		all = append(all, f)
	}
	return all
}
