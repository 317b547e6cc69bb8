package gpu

import (
	"context"
	"errors"
	"strconv"

	"keyway/internal/keyway"
)

// Report returns each GPU with its holder, and the queue. tell asks the engines about running
// workspaces, at the same time as the driver; nil: do not ask. A machine without GPUs has an
// empty report.
func (p *Pool) Report(ctx context.Context, tell func(context.Context) []Holding) (keyway.GPUReport, error) {
	report := keyway.GPUReport{GPUs: []keyway.GPU{}}
	said := make(chan []Holding, 1)
	go func() {
		if tell == nil {
			said <- nil
			return
		}
		said <- tell(ctx)
	}()
	inv, err := p.ask(ctx)
	told := <-said
	if errors.Is(err, errAbsent) {
		return report, nil
	}
	if err != nil {
		return report, err
	}
	unlock, err := p.store.lock(ctx)
	if err != nil {
		return report, unusable(err)
	}
	defer unlock()
	held, err := p.holders(inv.Devices, told)
	if err != nil {
		return report, unusable(err)
	}
	queue, err := p.waiters()
	if err != nil {
		return report, unusable(err)
	}
	report.Driver, report.CUDA = inv.Driver, inv.CUDA
	names := accounts{}
	for _, d := range inv.Devices {
		report.GPUs = append(report.GPUs, p.describe(d, held[d.UUID], names))
	}
	for _, w := range queue {
		report.Queue = append(report.Queue, keyway.GPUWaiter{Owner: names.of(w.Owner), Workspace: w.Workspace, GPUs: w.GPUs.String(), Since: w.Since})
	}
	return report, nil
}

// accounts are the login names of users, each asked for once: that starts a program.
type accounts map[string]string

func (a accounts) of(owner string) string {
	name, known := a[owner]
	if !known {
		name = people(owner)
		a[owner] = name
	}
	return name
}

func (p *Pool) describe(d Device, h *holder, names accounts) keyway.GPU {
	g := keyway.GPU{Index: d.Index, UUID: d.UUID, Model: d.Model, Memory: d.Memory, Used: d.Used, Load: d.Load}
	if h != nil && h.process == nil {
		g.Holder = &keyway.GPUHolder{Owner: names.of(h.Owner), Workspace: h.Workspace, Engine: h.Engine, Starting: h.starting}
	}
	for _, proc := range d.Processes {
		shown := keyway.GPUProcess{PID: proc.PID, Command: p.procs.command(proc.PID), Memory: proc.Memory, Compute: proc.Compute}
		if uid, ok := p.procs.owner(proc.PID); ok {
			shown.Owner = names.of(strconv.Itoa(uid))
		}
		if h != nil && h.pid > 0 && p.belongs(proc.PID, h.pid, keyway.UsesImages(h.Engine)) {
			shown.Workspace = h.Workspace
		}
		g.Processes = append(g.Processes, shown)
	}
	if h != nil && h.process != nil && h.process.PID == 0 {
		g.Processes = append(g.Processes, keyway.GPUProcess{Memory: h.process.Memory, Compute: true})
	}
	return g
}

// maxDepth bounds how far up a process's ancestors are followed.
const maxDepth = 256

// belongs reports whether the process is one of the workspace whose first process is
// first: a descendant, or in the container that is a control group of its own.
func (p *Pool) belongs(pid, first int, inContainer bool) bool {
	mine, theirs := p.procs.cgroup(pid), p.procs.cgroup(first)
	if inContainer && mine != "" && mine == theirs && mine != p.procs.cgroup(1) {
		return true
	}
	for range maxDepth {
		if pid == first {
			return true
		}
		if pid = p.procs.parent(pid); pid <= 1 {
			return false
		}
	}
	return false
}
