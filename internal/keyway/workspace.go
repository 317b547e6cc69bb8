package keyway

import "time"

// State is the state of a workspace.
type State string

// The states of a workspace.
const (
	Running State = "running"
	Stopped State = "stopped" // ended or was stopped; can be started again
	Broken  State = "broken"  // runs, but its guest does not answer
	Unknown State = "unknown" // its place cannot be asked
	// Elsewhere is the state of a workspace of another machine, which has the same home
	// directory as the one that was asked.
	Elsewhere State = "elsewhere"
)

// Workspace describes one workspace. The node queries all of it from the engine and the
// workspace's own directory each time; nothing is cached.
type Workspace struct {
	Name    Name      `json:"name"`
	Place   Place     `json:"place,omitempty"` // filled in by the laptop
	Engine  string    `json:"engine"`
	Image   string    `json:"image,omitempty"`
	State   State     `json:"state"`
	Reason  string    `json:"reason,omitempty"` // why it is not running, in a few words
	Next    Step      `json:"next,omitempty"`   // what to do about it, if possible
	GPUs    GPUs      `json:"gpus,omitzero"`
	Created time.Time `json:"created"`
	// Sessions counts the living sessions; -1 where that cannot be told.
	Sessions     int       `json:"sessions"`
	ForwardAgent bool      `json:"forwardAgent,omitempty"`
	Guest        GuestInfo `json:"guest"`
	// Container is the container that the workspace was adopted in (keyway.Adoption);
	// empty: it was made as a workspace.
	Container string `json:"container,omitempty"`
	Origin
}

// Progress is one piece of news during long work. Done and Total are bytes;
// Total is 0 when it is not known, both are 0 for plain news.
type Progress struct {
	Message string `json:"message"`
	Done    int64  `json:"done,omitempty"`
	Total   int64  `json:"total,omitempty"`
}

// DefaultImage is the image if none is named: small, and with the programs that users expect in
// a shell.
const DefaultImage = "debian:12"
