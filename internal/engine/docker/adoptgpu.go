package docker

import (
	"context"

	"github.com/moby/moby/client"

	"keyway/internal/gpu"
	"keyway/internal/keyway"
	"keyway/internal/proctree"
)

// adoptedGPUs returns the GPUs of the running containers that this owner has adopted. A container
// that cannot be looked at may have some.
func (e *Engine) adoptedGPUs(ctx context.Context) (all []gpu.Holding, err error) {
	for _, rec := range e.adopted() {
		m, st, err := e.findAdopted(ctx, rec)
		if notHere(err) || err == nil && (!st.Running || m.spec.GPUs.None()) {
			continue
		}
		if err != nil {
			return nil, err
		}
		h := gpu.Holding{Holder: gpu.Holder{Owner: e.owner, Workspace: rec.Spec.Name, Engine: e.Name()}, Asked: m.spec.GPUs}
		if e.client.Local() && proctree.IsFirst(st.Pid) {
			h.PID = st.Pid
		}
		all = append(all, h)
	}
	return all, nil
}

// claimGPUs records, for every user of the machine, that the GPUs of an adopted container are held
// as long as its guest lives. The container has them even if they cannot be recorded.
func (e *Engine) claimGPUs(ctx context.Context, name keyway.Name) {
	rec, ok := e.isAdopted(name)
	if !ok || !e.client.Local() {
		return
	}
	m, st, err := e.findAdopted(ctx, rec)
	if err != nil || m.spec.GPUs.None() || !proctree.IsFirst(st.Pid) {
		return // or the daemon counts processes differently from this machine
	}
	guest, err := e.client.ExecInspect(ctx, rec.Exec, client.ExecInspectOptions{})
	if err == nil && guest.Running && guest.ContainerID == rec.Container && guest.PID > 0 {
		_ = e.gpus.Claim(ctx, gpu.Holder{Owner: e.owner, Workspace: name, Engine: e.Name()}, m.spec.GPUs, guest.PID)
	}
}
