// Package engine declares the interface of platforms that run workspaces, and implements their
// common parts: the directory of a workspace, its record, its host key, and the search for its
// guest. The platforms are its subpackages docker and host; one contract suite, enginetest, tests
// all of them. Begin with Engine and Homes. docs/ARCHITECTURE.md describes how to add an engine.
package engine

import (
	"context"
	"net"
	"time"

	"keyway/internal/keyway"
)

// Host is the name of the engine that runs plain processes, the one without images.
const Host = keyway.EngineHost

// Engine runs the workspaces of one owner on one platform. Its whole state is in the platform
// itself and in the workspaces' Homes, so an Engine may be discarded and made again at any moment,
// and several may work at once.
//
// Errors are *keyway.Error where a user can do something about them: NotFound for an unknown name,
// NameTaken, NotRunning, ImageNotFound, NoGPU, NoSpace, and EngineAbsent, EngineDown or
// EngineForbidden if the platform itself cannot be used. All methods may run concurrently.
type Engine interface {
	// Name returns the user's name of the platform: one of keyway.Engines.
	Name() string
	// Probe returns nil if the platform can be used; otherwise the error says why not.
	Probe(ctx context.Context) error
	// Create makes and starts the workspace. It returns when its guest serves. If it fails or ctx
	// ends, nothing is left. report is called by one goroutine at a time, and not after Create has
	// returned.
	Create(ctx context.Context, s keyway.Spec, report func(keyway.Progress)) (keyway.Workspace, error)
	// List returns all workspaces, sorted by name. An owner without workspaces gets an empty list.
	List(ctx context.Context) ([]keyway.Workspace, error)
	// Stop ends all programs of the workspace; files stay. Programs have grace to end by
	// themselves. Stopping a stopped workspace is no error.
	Stop(ctx context.Context, name keyway.Name, grace time.Duration) error
	// Start starts a stopped workspace. It returns when its guest serves. Starting a running
	// workspace is no error.
	Start(ctx context.Context, name keyway.Name) error
	// Remove ends the workspace and removes every trace of it.
	Remove(ctx context.Context, name keyway.Name) error
	// Dial connects to the workspace's guest; the caller closes the connection. It has CloseWrite,
	// which the guest sees as the end of its input.
	Dial(ctx context.Context, name keyway.Name) (net.Conn, error)
}

// Guest is the guest program that an engine puts into workspaces.
type Guest struct {
	// Dir is a directory at the place that holds the static Linux program keyway.GuestProgram, and
	// a relative symbolic link to it for each of its other names (keyway, scp). It is named after
	// its content, so it may be mounted read-only or copied. It must not be changed, and stays in
	// place while a workspace uses it.
	Dir string
	// Version is stored in the engine's records of a workspace.
	Version string
}

// VolumeKeeper is an engine whose workspaces can have volumes that outlive them.
type VolumeKeeper interface {
	// RemoveVolume removes the owner's volume of that name with all its files. A volume that does
	// not exist is no error; one that a workspace uses is NameTaken.
	RemoveVolume(ctx context.Context, name string) error
}
