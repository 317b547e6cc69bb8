package docker

import (
	"context"

	"keyway/internal/gpu"
	"keyway/internal/proctree"
)

// adoptedGPUs are the GPUs of the containers that run and became workspaces of this owner.
func (e *Engine) adoptedGPUs(ctx context.Context) (all []gpu.Holding) {
	for _, rec := range e.adopted() {
		m, st, err := e.findAdopted(ctx, rec)
		if err != nil || !st.Running || m.spec.GPUs.None() {
			continue
		}
		h := gpu.Holding{Holder: gpu.Holder{Owner: e.owner, Workspace: rec.Spec.Name, Engine: e.Name()}, Asked: m.spec.GPUs}
		if e.client.Local() && proctree.IsFirst(st.Pid) {
			h.PID = st.Pid
		}
		all = append(all, h)
	}
	return all
}
