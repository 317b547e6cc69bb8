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

// Machine identifies the machine of a workspace: machines that share a home directory see each
// other's Homes, but not the processes.
type Machine struct {
	ID   string `json:"id"`   // compared, never shown
	Host string `json:"host"` // its name, for people
}

// thisMachine identifies the machine of this process. The name counts as well as machine-id(5):
// nodes that boot from one image have the same id.
var thisMachine = sync.OnceValue(func() Machine {
	id, _ := os.ReadFile("/etc/machine-id") // systems without the file have only their name
	host, _ := os.Hostname()
	sum := sha256.Sum256([]byte("keyway\n" + strings.TrimSpace(string(id)) + "\n" + host))
	return Machine{ID: hex.EncodeToString(sum[:16]), Host: host}
})

// Mark distinguishes these Homes from those in other directories and on other machines. It is not
// secret.
func (h Homes) Mark() string {
	sum := sha256.Sum256([]byte("keyway homes\n" + thisMachine().ID + "\n" + h.dir))
	return hex.EncodeToString(sum[:16])
}

// Daemon identifies the one of several daemons on a machine that made a workspace. If another
// daemon does not know the workspace, that proves nothing.
type Daemon struct {
	ID string `json:"id"` // compared, never shown
	At string `json:"at"` // address, for people
}

// Identified is an engine that may have several daemons at a place.
type Identified interface {
	// Which returns the daemon that is in use now. Its ID is empty if unknown.
	Which(context.Context) (Daemon, error)
}

// IsOther reports whether the workspace belongs to another daemon than here. An older keyway did
// not record its daemon.
func (d Daemon) IsOther(here Daemon) bool { return d.ID != "" && here.ID != "" && d.ID != here.ID }

// Refuse returns an error if r is a workspace of another daemon than here, otherwise nil.
func (h Homes) Refuse(r Record, here Daemon) error {
	if !r.Daemon.IsOther(here) {
		return nil
	}
	return keyway.Errorf(keyway.Unreachable, "the workspace %s is of another daemon than the one at %s: it was made at %s", r.Spec.Name, here.At, r.Daemon.At).
		Hint("choose that daemon at the place: export DOCKER_HOST=%s\nif it is gone for good, remove what is left there: rm -rf %s", r.Daemon.At, h.Home(r.Spec.Name))
}

// Mistaken returns the reason for which the Home of that name does not belong to the container that
// the engine has found by that name, and in which known was not found: the Home is that of a
// workspace of another daemon, engine or machine, or its Record cannot be read. It returns nil if the
// Home may belong to the container.
func (h Homes) Mistaken(ctx context.Context, known Record, name keyway.Name, e interface {
	Identified
	Name() string
}) error {
	if known.Spec.Name != "" {
		return nil
	}
	rec, err := h.Known(name)
	switch {
	case err != nil || rec.Spec.Name == "":
		return err
	case rec.Spec.Engine != e.Name():
		return NotFound(name)
	}
	here, err := e.Which(ctx)
	if err != nil {
		return err
	}
	return h.Refuse(rec, here)
}

// isHere reports whether the workspace belongs to this machine. An older keyway did not record the
// machine.
func (r Record) isHere() bool { return r.Machine.ID == "" || r.Machine.ID == thisMachine().ID }

// elsewhere returns the error for any operation on a workspace of another machine.
func (h Homes) elsewhere(r Record) error {
	return keyway.Errorf(keyway.Unreachable, "the workspace %s is at %q, which has the same home directory, and not here (its files: %s)",
		r.Spec.Name, r.Machine.Host, h.Home(r.Spec.Name))
}

// Elsewhere returns the workspaces of other machines that share the home directory.
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
