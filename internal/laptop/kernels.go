package laptop

import (
	"bytes"
	"context"
	"encoding/json"
	"path"
	"slices"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/sshconfig"
)

// Kernel is keyway-jupyter's report of a Jupyter kernel in a workspace.
type Kernel struct {
	ID       string `json:"id"`
	Notebook string `json:"notebook"` // its path, or those of several with ", " between; empty if it has none
	State    string `json:"state"`    // idle, busy or another word of the kernel's
	Running  int    `json:"running"`  // cells that have begun and not ended
	Queued   int    `json:"queued"`   // cells that wait for those
	Clients  int    `json:"clients"`  // connected pages and editors
}

// Busy reports whether a cell runs or waits.
func (k Kernel) Busy() bool { return k.Running+k.Queued > 0 }

// Name returns the notebook's name, or the beginning of the kernel's identifier.
func (k Kernel) Name() string {
	if k.Notebook != "" {
		return notebookNames(k.Notebook)
	}
	return "kernel " + k.ID[:min(len(k.ID), 8)]
}

// notebookNames leaves the directories out of the paths of notebooks with ", " between.
func notebookNames(paths string) string {
	all := strings.Split(paths, ".ipynb, ")
	for i, p := range all {
		all[i] = path.Base(p)
	}
	return strings.Join(all, ".ipynb, ")
}

const (
	// maxKernels bounds how many kernels of a workspace are shown.
	maxKernels = 200
	// listKernels asks whichever keyway-jupyter is there, and prints nothing where none
	// runs.
	listKernels = keeperRuns + keepers + ` [ -O "$f" ] && [ -x "$f" ] && "$f" kernels 2> /dev/null && exit 0; done; exit 0`
)

// keeperRuns prints "gone" and ends where no keyway-jupyter runs; else, $d is where it may
// be. Its record is in the workspace's Home, or was put into the user's by an earlier
// version.
const keeperRuns = `case ${XDG_STATE_HOME:-} in /*) s=$XDG_STATE_HOME;; *) s=${HOME:-/nonexistent}/.local/state;; esac; ` +
	`[ -f "${KEYWAY_HOME:-/nonexistent}/data/jupyter/where.json" ] || [ -f "$s/keyway/jupyter/where.json" ] || { echo gone; exit 0; }; ` +
	`case ${XDG_CACHE_HOME:-} in /*) d=$XDG_CACHE_HOME;; *) d=$HOME/.cache;; esac; `

// keepers begins a loop over the keyway-jupyter programs as f. They are where toDirectory leads, or have been put
// into the user's cache by an earlier version.
const keepers = `for f in "${KEYWAY_HOME:-/nonexistent}"/data/programs/keyway-jupyter-* "$d"/keyway/keyway-jupyter-*; do`

// Kernels lists the Jupyter kernels of a workspace, the busy ones first. There are none
// where keyway-jupyter does not run.
func (here *Laptop) Kernels(ctx context.Context, e sshconfig.Entry) ([]Kernel, error) {
	out, err := here.Output(ctx, e, 1<<20, "sh", "-c", listKernels)
	if err != nil || len(out) == 0 || string(bytes.TrimSpace(out)) == "gone" {
		return nil, err
	}
	return readKernels(out)
}

// readKernels reads and checks a workspace's report about its kernels.
func readKernels(out []byte) ([]Kernel, error) {
	var all []Kernel
	if err := json.Unmarshal(out, &all); err != nil {
		return nil, keyway.Errorf(keyway.VersionMismatch, "keyway-jupyter's report of its kernels cannot be read: %w", err)
	}
	all = all[:min(len(all), maxKernels)]
	slices.SortStableFunc(all, func(a, b Kernel) int {
		switch {
		case a.Busy() == b.Busy():
			return 0
		case a.Busy():
			return -1
		}
		return 1
	})
	return all, nil
}
