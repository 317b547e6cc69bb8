package engine

import (
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
