package node

import (
	"context"
	"os/user"
	"slices"
	"sync"

	"keyway/internal/api"
	"keyway/internal/engine"
	"keyway/internal/gpu"
	"keyway/internal/keyway"
)

// Environments implements api.Node. The machine's part is found once for all workspaces.
func (n *Node) Environments(ctx context.Context, names []keyway.Name) ([]keyway.Environment, error) {
	all := make([]keyway.Environment, len(names))
	perEngine := map[engine.Engine][]int{}
	for i, name := range names {
		all[i].Name = name
		e, err := n.find(ctx, name)
		if err != nil {
			all[i].Error = keyway.AsError(err)
			continue
		}
		perEngine[e] = append(perEngine[e], i)
	}
	var asked sync.WaitGroup
	for e, which := range perEngine {
		asked.Go(func() { survey(ctx, e, which, all) })
	}
	report, err := n.gpus.Report(ctx, nil)
	if err != nil { // the driver's version is also in its files
		report = keyway.GPUReport{}
	}
	asked.Wait()
	for i := range all {
		if all[i].Error == nil {
			complete(&all[i], report)
		}
	}
	return all, ctx.Err()
}

// survey asks an engine about the entries of all that which lists.
func survey(ctx context.Context, e engine.Engine, which []int, all []keyway.Environment) {
	names := make([]keyway.Name, len(which))
	for i, at := range which {
		names[i] = all[at].Name
	}
	s, ok := e.(surveyor)
	var found []keyway.Environment
	err := error(keyway.Errorf(keyway.Usage, "the engine %s cannot describe its workspaces (%s)", e.Name(), api.AbilityEnvironments))
	if ok {
		found, err = s.Environments(ctx, names)
	}
	for i, at := range which {
		if err != nil {
			all[at].Error = keyway.AsError(err)
		} else {
			all[at] = found[i]
		}
	}
}

// complete adds facts of the machine, and the models of the workspace's GPUs.
func complete(env *keyway.Environment, report keyway.GPUReport) {
	env.Kernel, env.Driver = kernel(), gpu.Module()
	if env.Driver == "" {
		env.Driver = report.Driver
	}
	bound := env.GPUs
	env.GPUs = nil
	for _, g := range report.GPUs {
		if slices.Contains(bound, g.UUID) && g.UUID != "" || holds(env, g.Holder) {
			env.GPUs = append(env.GPUs, g.Model)
		}
	}
	for range len(bound) - len(env.GPUs) { // the driver does not report them now
		env.GPUs = append(env.GPUs, "?")
	}
	env.Bound()
}

// holds reports whether the holder of a GPU is this user's workspace. Only leases show the GPUs of
// a workspace of plain processes.
func holds(env *keyway.Environment, h *keyway.GPUHolder) bool {
	if h == nil || h.Workspace != env.Name || h.Engine != env.Engine {
		return false
	}
	u, err := user.Current()
	return err == nil && (h.Owner == u.Username || h.Owner == u.Uid)
}
