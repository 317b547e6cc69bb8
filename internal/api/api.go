// Package api is the HTTP API of a node: its types, a handler over a small interface, and a client
// that implements the same interface. The link serves the same paths for each place, so a command
// on the laptop, the link and the node use one language for workspaces. The package runs no
// workspaces: package node implements the interface. Begin with Node. docs/PROTOCOL.api.md has the
// tables.
package api

import (
	"context"
	"io"
	"net"
	"time"

	"keyway/internal/keyway"
)

// Node runs workspaces at one place. Its errors are *keyway.Error; all
// methods may run concurrently.
type Node interface {
	// Info describes the place.
	Info(ctx context.Context) (Info, error)
	// List returns all workspaces of this user at the place, sorted by name.
	List(ctx context.Context) (Listing, error)
	// Create makes and starts a workspace; see engine.Engine.
	Create(ctx context.Context, s keyway.Spec, report func(keyway.Progress)) (keyway.Workspace, error)
	Stop(ctx context.Context, name keyway.Name, grace time.Duration) error
	Start(ctx context.Context, name keyway.Name) error
	Remove(ctx context.Context, name keyway.Name) error
	// Purge is Remove, and removes the volumes that would outlive the workspace.
	Purge(ctx context.Context, name keyway.Name) error
	// Undo is Remove for a workspace that has not been used yet. It also removes the volumes that
	// were made with it.
	Undo(ctx context.Context, name keyway.Name) error
	// Facts tells what decides whether a workspace of that Spec will run at the place.
	// Nothing is made or pulled.
	Facts(ctx context.Context, s keyway.Spec) (keyway.Facts, error)
	// Admit lets keys enter the workspace from now on, beside those that may; see
	// keyway.MergeKeys.
	Admit(ctx context.Context, name keyway.Name, keys []keyway.EntryKey) error
	// WaitIdle returns when the workspace is not being made or changed: after a cancelled Create,
	// when nothing of it is left.
	WaitIdle(ctx context.Context, name keyway.Name) error
	// GPUs returns the GPUs of the place, with their holders, and the requests that wait for some.
	GPUs(ctx context.Context) (keyway.GPUReport, error)
	// Environments returns the real environments of workspaces, in the order of their names,
	// keyway.MaxEnvironments at most. An entry without an environment has the reason.
	Environments(ctx context.Context, names []keyway.Name) ([]keyway.Environment, error)
	// Templates returns the files of the place's own templates (internal/catalogue), by
	// name. They are the place's words; catalogue.Parse judges them.
	Templates(ctx context.Context) ([][]byte, error)
	// ImageLayers returns the layers of an image at the place. An empty engine is the first that
	// can be used, here as below.
	ImageLayers(ctx context.Context, engine, image string) (keyway.ImageLayers, error)
	// HaveLayers returns how many of these layers, from the lowest on, need not be in an
	// archive for ImportImage.
	HaveLayers(ctx context.Context, engine string, layers []string) (int, error)
	// ExportImage is an archive of an image, as docker save makes it, without the files of
	// its lowest layers. The caller closes it.
	ExportImage(ctx context.Context, engine, image string, without int) (io.ReadCloser, error)
	// ImportImage takes in an archive of one image, which gets that name and no other.
	ImportImage(ctx context.Context, engine, image string, archive io.Reader) error
	// PullImage has the place get an image from its registry, with a login that is used for this
	// and kept nowhere. Bytes of a layer that came before it was cut are not asked for again.
	// Denied: the login sufficed for a part; a new one continues from there.
	PullImage(ctx context.Context, engine string, p keyway.Pull, report func(keyway.Progress)) error
	// Containers returns the containers that run at the place and were not made as workspaces. All
	// texts are those of the containers' makers.
	Containers(ctx context.Context) ([]keyway.Container, error)
	// Adopt makes a workspace of such a container: a guest beside its first process. An
	// empty engine is the first that has it. If it fails or ctx ends, nothing is left.
	Adopt(ctx context.Context, a keyway.Adoption, report func(keyway.Progress)) (keyway.Workspace, error)
	// Dial connects to a workspace's guest. A Client returns before the other end has answered, so
	// that the first bytes cost no extra round trip. A later failure is then the error of the first
	// Read.
	Dial(ctx context.Context, name keyway.Name) (net.Conn, error)
}

// Info describes a node and its place, as the node claims.
type Info struct {
	Version string       `json:"version"` // of the program
	OS      string       `json:"os"`
	Arch    string       `json:"arch"`
	Host    string       `json:"host"`
	User    string       `json:"user"`
	Engines []EngineInfo `json:"engines"`
}

// EngineInfo reports whether an engine can be used at a place.
type EngineInfo struct {
	Name   string        `json:"name"`
	Usable bool          `json:"usable"`
	Why    *keyway.Error `json:"why,omitempty"` // why not
	// Abilities lists the abilities of the engine beside running workspaces: Ability constants, and
	// those of later versions.
	Abilities []string `json:"abilities,omitempty"`
}

// The abilities.
const (
	AbilityGPUs         = "gpus"         // lends GPUs to workspaces
	AbilityEnvironments = "environments" // returns the real environments of workspaces
	AbilityAdopt        = "adopt"        // makes workspaces of containers that others have made
	AbilityImages       = "images"       // gives images to other places, and takes theirs
)

// Listing is the answer to List. If an engine cannot be asked, the workspaces that are known to be
// its own are listed as Unknown, and Problems has the engine's error.
type Listing struct {
	Workspaces []keyway.Workspace `json:"workspaces"`
	Problems   []*keyway.Error    `json:"problems,omitempty"`
}

// Question is something that only a person can answer: a one-time code, an
// unknown host key.
type Question struct {
	ID     string `json:"id"`
	Prompt string `json:"prompt"`
	// Kind is empty for a secret to type, "confirm" for yes or no, "none" for a
	// notice that needs no answer (SSH_ASKPASS_PROMPT of ssh(1)).
	Kind string `json:"kind,omitempty"`
	// Host is on whose behalf is asked, and Said what hosts on the route have said so
	// far: a one-time code may need a page that one of them names.
	Host string  `json:"host,omitempty"`
	Said []Words `json:"said,omitempty"`
	// NoKey says that every agent that this ssh uses is locked or holds no key, which may be
	// why it asks.
	NoKey bool `json:"noKey,omitempty"`
}

// Words are the text of a host on the route, unchanged: a claim of that host's.
type Words struct {
	Host string `json:"host"`
	Text string `json:"text"`
}

// Answer is the answer of a person. The zero value is a refusal.
type Answer struct {
	OK   bool   `json:"ok"`
	Text string `json:"text,omitempty"`
}

// Event is one line of a streamed answer. Exactly one field is set; a line with
// Error, Workspace or Done is the last.
type Event struct {
	Progress  *keyway.Progress  `json:"progress,omitempty"`
	Question  *Question         `json:"question,omitempty"`
	Words     *Words            `json:"words,omitempty"`
	Workspace *keyway.Workspace `json:"workspace,omitempty"`
	Error     *keyway.Error     `json:"error,omitempty"`
	Done      bool              `json:"done,omitempty"`
}
