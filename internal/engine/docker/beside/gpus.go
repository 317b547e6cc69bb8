package beside

import (
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"

	"keyway/internal/gpu"
	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
)

// kindOfGPUs is the prefix of a GPU's name in CDI.
const kindOfGPUs = "nvidia.com/gpu="

// gpuName matches the names by which a container may request a GPU: a UUID, an index, a part's
// index, a device file. The maker of the container wrote it.
var gpuName = lazyregexp.New(`^((GPU|MIG)-[0-9A-Za-z/-]{1,120}|[0-9]{1,4}(:[0-9]{1,4})?|/dev/nvidia[0-9]{1,4})$`)

// GPUsOf returns the GPUs of a container that keyway has not made: by device request, by the
// variable of NVIDIA's runtime, or as device files.
func GPUsOf(c container.InspectResponse) (g keyway.GPUs) {
	if c.HostConfig == nil {
		return g
	}
	var names []string
	for _, r := range c.HostConfig.DeviceRequests {
		if cdi := r.Driver == "cdi"; cdi || r.Driver == "nvidia" || slices.ContainsFunc(r.Capabilities, asksForGPUs) {
			g.All = g.All || r.Count < 0 && !cdi
			g.Count += max(r.Count, 0)
			names = append(names, r.DeviceIDs...)
		}
	}
	if c.HostConfig.Runtime == "nvidia" && c.Config != nil && !g.All && g.Count == 0 && len(names) == 0 {
		for _, kv := range c.Config.Env {
			if value, ok := strings.CutPrefix(kv, gpu.VisibleDevices+"="); ok {
				names = append(names, strings.Split(value, ",")...)
			}
		}
	}
	for _, d := range c.HostConfig.Devices {
		names = append(names, d.PathOnHost)
	}
	for _, name := range names[:min(len(names), maxDeviceNames)] {
		name = strings.TrimPrefix(name, kindOfGPUs)
		g.All = g.All || name == "all"
		if gpuName.MatchString(name) && !slices.Contains(g.IDs, name) {
			g.IDs = append(g.IDs, name)
		}
	}
	return g
}

// maxDeviceNames bounds the devices of a container that are looked at.
const maxDeviceNames = 1024

func asksForGPUs(capabilities []string) bool {
	return slices.Contains(capabilities, "gpu") || slices.Contains(capabilities, "nvidia")
}
