package docker

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"keyway/internal/engine/docker/daemon"
	"keyway/internal/gpu"
	"keyway/internal/keyway"
	"keyway/internal/proctree"
)

// GPUsFrom makes the engine lend the GPUs of that place instead of this machine's.
func GPUsFrom(p *gpu.Pool) Option { return func(s *settings) { s.gpus = p } }

// labelGPUs has the UUIDs of the GPUs that a container is bound to, for every owner to see. It is
// always set, because an image may set it, too.
const labelGPUs = "dev.keyway.gpus"

// gpuOrder is a workspace's order of GPUs.
type gpuOrder struct {
	asked keyway.GPUs
	grant *gpu.Grant // nil: none were requested, or the daemon chooses
	// cdi requests the devices by their CDI names; byIndex makes these of indexes instead of UUIDs.
	cdi, byIndex bool
}

// cdiKind is the prefix of NVIDIA's devices; a name follows (nvidia-ctk cdi generate).
const cdiKind = "nvidia.com/gpu="

// ids returns the names of the devices for the daemon; empty: the daemon chooses.
func (o gpuOrder) ids() []string {
	if o.grant == nil {
		if o.asked.All && o.cdi {
			return []string{"all"}
		}
		return o.asked.IDs
	}
	if !o.byIndex {
		return o.grant.UUIDs()
	}
	var ids []string
	for _, d := range o.grant.Devices {
		ids = append(ids, d.Index)
	}
	return ids
}

func (o gpuOrder) cdiNames() []string {
	var names []string
	for _, id := range o.ids() {
		names = append(names, cdiKind+id)
	}
	return names
}

// visible returns the value of gpu.VisibleDevices; empty: do not set it. NVIDIA's runtime must not
// assign devices again that are requested by CDI.
func (o gpuOrder) visible() string {
	switch {
	case o.asked.None(), o.cdi:
		return "void"
	case o.grant != nil:
		return strings.Join(o.grant.UUIDs(), ",")
	}
	return ""
}

// requests returns the device requests of docker run --gpus.
func (o gpuOrder) requests() []container.DeviceRequest {
	switch {
	case o.asked.None():
		return nil
	case o.cdi:
		return []container.DeviceRequest{{Driver: "cdi", DeviceIDs: o.cdiNames()}}
	}
	r := container.DeviceRequest{Capabilities: [][]string{{"gpu"}}}
	switch ids := o.ids(); {
	case len(ids) > 0:
		r.DeviceIDs = ids
	case o.asked.All:
		r.Count = -1
	default:
		r.Count = o.asked.Count
	}
	return []container.DeviceRequest{r}
}

// next returns another form of the same order, if there is one. A daemon without NVIDIA's runtime
// may know CDI, and descriptions of devices may lack the UUIDs.
func (o gpuOrder) next(err error) (gpuOrder, bool) {
	low := strings.ToLower(err.Error())
	switch {
	case o.asked.None():
	case !o.cdi && strings.Contains(low, "could not select device driver") && (o.grant != nil || o.asked.Count == 0):
		o.cdi = true
		return o, true
	case o.cdi && !o.byIndex && o.grant != nil && strings.Contains(low, "unresolvable cdi devices"):
		o.byIndex = true
		return o, true
	}
	return o, false
}

// lend gets the GPUs that s requests. If this machine does not know its GPUs, the daemon may.
func (e *Engine) lend(ctx context.Context, d daemon.Identity, s keyway.Spec, report func(keyway.Progress)) (gpuOrder, error) {
	order := gpuOrder{asked: s.GPUs, cdi: d.Podman}
	if s.GPUs.None() {
		return order, nil
	}
	why := d.Title() + " runs on another machine"
	if e.client.Local() {
		grant, err := e.gpus.Take(ctx, e.request(s), report)
		if err == nil {
			order.grant = grant
			return order, nil
		}
		if !gpu.IsAbsent(err) {
			return order, err
		}
		why = "there is no nvidia-smi here"
	}
	if s.GPUs.Wait {
		return order, keyway.Errorf(keyway.NoGPU, "nobody can wait for GPUs here (%s): keyway cannot tell which are free, %s", s.GPUs, why).
			Advise(keyway.WithoutWait)
	}
	if d.Podman && s.GPUs.Count > 0 {
		return order, keyway.Errorf(keyway.NoGPU, "Podman cannot choose %d GPUs, and keyway cannot either: %s", s.GPUs.Count, why).
			Advise(keyway.NameGPUs, "0")
	}
	report(keyway.Progress{Message: d.Title() + " gives the GPUs, and keyway does not keep others from them: " + why})
	return order, nil
}

func (e *Engine) request(s keyway.Spec) gpu.Request {
	return gpu.Request{
		Holder: gpu.Holder{Owner: e.owner, Workspace: s.Name, Engine: e.Name()}, GPUs: s.GPUs, Told: e.GPUs,
	}
}

// GPUs returns the GPUs of the running workspaces of every owner, as far as the daemon shows them.
func (e *Engine) GPUs(ctx context.Context) ([]gpu.Holding, error) {
	if _, err := e.client.Identify(ctx); err != nil {
		return nil, err
	}
	found, err := e.client.ContainerList(ctx, client.ContainerListOptions{Filters: make(client.Filters).Add("label", labelGPUs)})
	if err != nil {
		return nil, e.client.Explain(ctx, err)
	}
	var all []gpu.Holding
	for _, c := range found.Items {
		name, owner := c.Labels[labelName], c.Labels[labelOwner]
		if len(c.Names) == 0 || strings.TrimPrefix(c.Names[0], "/") != "keyway-"+owner+"-"+name {
			continue // it has the labels from an image
		}
		if ids := boundTo(c.Labels); len(ids) > 0 {
			holder := gpu.Holder{Owner: owner, Workspace: keyway.Name(name), Engine: e.Name()}
			all = append(all, gpu.Holding{Holder: holder, UUIDs: ids})
		}
	}
	adopted, err := e.adoptedGPUs(ctx)
	return append(all, adopted...), err
}

// boundTo returns the UUIDs of the GPUs that a container is bound to.
func boundTo(labels map[string]string) []string {
	return strings.FieldsFunc(labels[labelGPUs], func(r rune) bool { return r == ',' })
}

// lendAgain gets the GPUs that a container is bound to, before it is started again.
func (e *Engine) lendAgain(ctx context.Context, m made) (*gpu.Grant, error) {
	if len(m.gpus) == 0 {
		return nil, nil
	}
	s := m.spec
	s.GPUs = keyway.GPUs{IDs: m.gpus}
	grant, err := e.gpus.Take(ctx, e.request(s), func(keyway.Progress) {})
	if keyway.Is(err, keyway.NoGPU) {
		return nil, keyway.Errorf(keyway.NoGPU, "%s is bound to GPUs that it cannot have now: %w", s.Name, err).
			Advise(keyway.SeeGPUs).Advise(keyway.MakeAnew, string(s.Name))
	}
	return grant, err
}

// bind assigns the leases of the GPUs to the container, which has started and waits for its host
// key.
func (e *Engine) bind(ctx context.Context, id string, grant *gpu.Grant) error {
	if grant == nil {
		return nil
	}
	c, err := e.client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	if c.Container.State == nil || !c.Container.State.Running {
		return endedError{"has ended"}
	}
	pid := c.Container.State.Pid
	if !proctree.IsFirst(pid) {
		pid = 0 // the daemon counts processes differently from this machine
	}
	return grant.Bind(pid)
}

// verify checks from inside that the workspace has the GPUs that it was given, and no others. A
// guest of an older keyway cannot report them.
func (e *Engine) verify(ctx context.Context, m made, grant *gpu.Grant) error {
	if grant == nil {
		return nil
	}
	want := map[string]bool{}
	for _, d := range grant.Devices {
		if d.Minor < 0 { // as in WSL, where GPUs are not device files
			return nil
		}
		want["nvidia"+strconv.Itoa(d.Minor)] = true
	}
	found, told, err := e.in(m).Devices(ctx)
	if err != nil {
		return e.client.Explain(ctx, err)
	}
	if !told {
		return nil
	}
	var wrong []string
	for name := range want {
		if !slices.Contains(found, name) {
			wrong = append(wrong, name+" is missing")
		}
	}
	for _, name := range found {
		if !want[name] {
			wrong = append(wrong, name+" is there and was not asked for")
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	return keyway.Errorf(keyway.NoGPU, "%s has not given the workspace the requested GPUs (%s): %s",
		e.client.Known().Title(), strings.Join(grant.UUIDs(), ", "), strings.Join(wrong, ", ")).
		Hint("see how containers get their GPUs, at the place: nvidia-ctk config, and nvidia-ctk cdi list")
}
