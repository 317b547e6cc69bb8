//go:build linux

package e2e

import (
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// registry gives each running script its lab: a script's commands are functions
// without a place to keep one.
type registry struct {
	mu     sync.Mutex
	worlds map[*testscript.TestScript]*world
}

func newRegistry() *registry { return &registry{worlds: map[*testscript.TestScript]*world{}} }

func (r *registry) get(ts *testscript.TestScript) *world {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.worlds[ts]
}

func (r *registry) set(ts *testscript.TestScript, w *world) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w == nil {
		delete(r.worlds, ts)
		return
	}
	r.worlds[ts] = w
}
