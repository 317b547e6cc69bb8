package beside

import (
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
)

// TestGPUsOfForeignContainers checks each way in which a container gets GPUs, as daemons describe
// it, and descriptions that look similar.
func TestGPUsOfForeignContainers(t *testing.T) {
	request := func(r container.DeviceRequest) container.Resources {
		return container.Resources{DeviceRequests: []container.DeviceRequest{r}}
	}
	gpu := [][]string{{"gpu"}}
	for name, c := range map[string]struct {
		host container.HostConfig
		env  []string
		want string
	}{
		"nothing":               {container.HostConfig{}, nil, "none"},
		"docker run --gpus all": {container.HostConfig{Resources: request(container.DeviceRequest{Count: -1, Capabilities: gpu})}, nil, "all"},
		"docker run --gpus 2":   {container.HostConfig{Resources: request(container.DeviceRequest{Count: 2, Capabilities: gpu})}, nil, "2"},
		"by index":              {container.HostConfig{Resources: request(container.DeviceRequest{DeviceIDs: []string{"0", "3"}, Capabilities: gpu})}, nil, "device=0,3"},
		"Compose":               {container.HostConfig{Resources: request(container.DeviceRequest{Driver: "nvidia", DeviceIDs: []string{"GPU-a-1"}, Capabilities: gpu})}, nil, "GPU-a-1"},
		"CDI":                   {container.HostConfig{Resources: request(container.DeviceRequest{Driver: "cdi", DeviceIDs: []string{"nvidia.com/gpu=1:0", "vendor.com/net=0"}})}, nil, "device=1:0"},
		"CDI, all":              {container.HostConfig{Resources: request(container.DeviceRequest{Driver: "cdi", DeviceIDs: []string{"nvidia.com/gpu=all"}})}, nil, "all"},
		"another device":        {container.HostConfig{Resources: request(container.DeviceRequest{Driver: "tpu", Count: -1, Capabilities: [][]string{{"tpu"}}})}, nil, "none"},
		"NVIDIA's runtime":      {container.HostConfig{Runtime: "nvidia"}, []string{"A=1", "NVIDIA_VISIBLE_DEVICES=all"}, "all"},
		"by its variable":       {container.HostConfig{Runtime: "nvidia"}, []string{"NVIDIA_VISIBLE_DEVICES=GPU-a,1"}, "device=GPU-a,1"},
		"void":                  {container.HostConfig{Runtime: "nvidia"}, []string{"NVIDIA_VISIBLE_DEVICES=void"}, "none"},
		"the variable alone":    {container.HostConfig{Runtime: "runc"}, []string{"NVIDIA_VISIBLE_DEVICES=all"}, "none"},
		"a request, and an image that says all": {container.HostConfig{Runtime: "nvidia", Resources: request(container.DeviceRequest{DeviceIDs: []string{"0"}, Capabilities: gpu})},
			[]string{"NVIDIA_VISIBLE_DEVICES=all"}, "device=0"},
		"device files": {container.HostConfig{Resources: container.Resources{Devices: []container.DeviceMapping{
			{PathOnHost: "/dev/nvidia0"}, {PathOnHost: "/dev/nvidiactl"}, {PathOnHost: "/dev/fuse"}, {PathOnHost: "/dev/nvidia0"}}}}, nil, "/dev/nvidia0"},
		"mischief": {container.HostConfig{Resources: request(container.DeviceRequest{DeviceIDs: []string{"\x1b[2J", "", "0,1", "GPU-" + strings.Repeat("x", 200)}, Capabilities: gpu})}, nil, "none"},
	} {
		got := GPUsOf(container.InspectResponse{HostConfig: &c.host, Config: &container.Config{Env: c.env}})
		if got.String() != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if got := GPUsOf(container.InspectResponse{}); !got.None() {
		t.Errorf("nothing said: %s", got)
	}
}
