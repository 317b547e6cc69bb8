// Package engine declares what every platform that runs workspaces must do.
// The platforms are its subpackages; one contract suite proves them all.
package engine

import (
	"context"
	"net"
	"time"

	"keyway/internal/keyway"
)

// Host is the name of the engine that runs plain processes: the one without
// images.
const Host = keyway.EngineHost

// Engine runs workspaces of one owner on one platform. All truth about them
// lives in the platform itself and in the workspace's Home, so an Engine may be
// thrown away and made anew at any moment, and several may work at once.
//
// Errors are *keyway.Error where a user can do something about them: NotFound
// for a name that is not there, NameTaken, NotRunning, ImageNotFound, NoGPU,
// NoSpace, and EngineAbsent, EngineDown or EngineForbidden when the platform
// itself cannot be used. All methods may run concurrently.
type Engine interface {
	// Name is how users call the platform: one of keyway.Engines.
	Name() string
	// Probe reports whether the platform can be used, and if not, why.
	Probe(ctx context.Context) error
	// Create makes and starts the workspace and returns when its guest serves.
	// If it fails or ctx ends, nothing is left. report may be called from one
	// goroutine at a time, not after Create has returned.
	Create(ctx context.Context, s keyway.Spec, report func(keyway.Progress)) (keyway.Workspace, error)
	// List tells of all workspaces, sorted by name. An owner without any gets an
	// empty list.
	List(ctx context.Context) ([]keyway.Workspace, error)
	// Stop ends all that runs in the workspace; files stay. Programs have grace to
	// end by themselves. Stopping what is stopped is no error.
	Stop(ctx context.Context, name keyway.Name, grace time.Duration) error
	// Start starts a stopped workspace and returns when its guest serves.
	// Starting what runs is no error.
	Start(ctx context.Context, name keyway.Name) error
	// Remove ends the workspace and removes every trace of it.
	Remove(ctx context.Context, name keyway.Name) error
	// Dial connects to the workspace's guest; the caller closes. The connection
	// has CloseWrite, which the guest sees as the end of what it reads.
	Dial(ctx context.Context, name keyway.Name) (net.Conn, error)
}

// Guest is the guest program that an engine puts into workspaces.
type Guest struct {
	// Dir is a directory at the place that holds the static Linux program
	// keyway.GuestProgram and relative symbolic links to it, one for each other
	// name it goes by (keyway, scp). It is named after its content, so it may be
	// mounted read-only or copied, must not be changed, and stays where it is as
	// long as a workspace uses it.
	Dir string
	// Version goes into what the engine records about a workspace.
	Version string
}

// VolumeKeeper is an engine whose workspaces can have volumes that outlive them.
type VolumeKeeper interface {
	// RemoveVolume removes the owner's volume of that name with all files in it. One
	// that is not there is no error; one that a workspace has is NameTaken.
	RemoveVolume(ctx context.Context, name string) error
}
