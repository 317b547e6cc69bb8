package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"sync"

	"keyway/internal/keyway"
)

// Machine says where a workspace is: machines that share a home directory see each
// other's Homes, but not what runs in them.
type Machine struct {
	ID   string `json:"id"`   // compared, never shown
	Host string `json:"host"` // its name, for people
}

// thisMachine is where this process runs. The name counts as well as machine-id(5):
// nodes that boot from one image have one id.
var thisMachine = sync.OnceValue(func() Machine {
	id, _ := os.ReadFile("/etc/machine-id") // systems without one have their name
	host, _ := os.Hostname()
	sum := sha256.Sum256([]byte("keyway\n" + strings.TrimSpace(string(id)) + "\n" + host))
	return Machine{ID: hex.EncodeToString(sum[:16]), Host: host}
})

// Mark tells these Homes from all others: those of other directories and machines. It is
// no secret.
func (h Homes) Mark() string {
	sum := sha256.Sum256([]byte("keyway homes\n" + thisMachine().ID + "\n" + h.dir))
	return hex.EncodeToString(sum[:16])
}

// Daemon says which one of several on a machine made a workspace. The others do not know
// it, and that they do not says nothing about it.
type Daemon struct {
	ID string `json:"id"` // compared, never shown
	At string `json:"at"` // where it listened, for people
}

// Identified is an engine of which there may be several at a place.
type Identified interface {
	// Which is the one that is driven now. Its ID is empty if that cannot be told.
	Which(context.Context) (Daemon, error)
}

// IsOther reports whether the workspace is another daemon's than here. An older keyway
// did not say whose one is.
func (d Daemon) IsOther(here Daemon) bool { return d.ID != "" && here.ID != "" && d.ID != here.ID }

// Refuse is the error of everything that here is asked to do with a workspace of another
// daemon, and nil for one of its own.
func (h Homes) Refuse(r Record, here Daemon) error {
	if !r.Daemon.IsOther(here) {
		return nil
	}
	return keyway.Errorf(keyway.Unreachable, "the workspace %s is of another daemon than the one at %s: it was made at %s", r.Spec.Name, here.At, r.Daemon.At).
		Hint("have that one asked at the place: export DOCKER_HOST=%s\nif it is gone for good, remove what is left there: rm -rf %s", r.Daemon.At, h.Home(r.Spec.Name))
}

// Mistaken is why the Home of that name is not that of the container which the engine has
// found by that name, and in which known was not found: the Home is of a workspace of
// another daemon, engine or machine, which has nothing to do with the container. nil: it
// may be its own.
func (h Homes) Mistaken(ctx context.Context, known Record, name keyway.Name, e interface {
	Identified
	Name() string
}) error {
	if known.Spec.Name != "" {
		return nil
	}
	rec, err := h.Record(name)
	switch {
	case keyway.Is(err, keyway.Unreachable):
		return err
	case err != nil:
		return nil
	case rec.Spec.Engine != e.Name():
		return NotFound(name)
	}
	here, err := e.Which(ctx)
	if err != nil {
		return err
	}
	return h.Refuse(rec, here)
}

// isHere reports whether the workspace is this machine's. An older keyway did not say
// where it made one.
func (r Record) isHere() bool { return r.Machine.ID == "" || r.Machine.ID == thisMachine().ID }

// elsewhere is the error of everything that is to be done with a workspace of another
// machine.
func (h Homes) elsewhere(r Record) error {
	return keyway.Errorf(keyway.Unreachable, "the workspace %s is at %q, which has the same home directory, and not here (its files: %s)",
		r.Spec.Name, r.Machine.Host, h.Home(r.Spec.Name))
}

// Elsewhere are the workspaces of other machines that have the same home directory.
func (h Homes) Elsewhere() ([]Record, error) {
	names, err := h.all()
	var others []Record
	for _, name := range names {
		if rec, err := h.read(name); err == nil && !rec.isHere() {
			others = append(others, rec)
		}
	}
	return others, err
}
