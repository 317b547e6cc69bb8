package libpod

import (
	"encoding/json"
	"testing"

	"github.com/moby/moby/api/types/container"
)

// TestSharing checks that Podman's own API gets the right requests about a container's
// network and IPC. It makes the containers with GPUs.
func TestSharing(t *testing.T) {
	for want, h := range map[string]container.HostConfig{
		`{}`: {},
		`{"ipcns":{"nsmode":"host"},"netns":{"nsmode":"none"}}`:                            {IpcMode: "host", NetworkMode: "none"},
		`{"ipcns":{"nsmode":"shareable"},"netns":{"nsmode":"host"}}`:                       {IpcMode: "shareable", NetworkMode: "host"},
		`{"ipcns":{"nsmode":"private"},"netns":{"nsmode":"bridge"},"Networks":{"lab":{}}}`: {IpcMode: "private", NetworkMode: "lab"},
	} {
		if got, err := json.Marshal(sharing(&h)); err != nil || string(got) != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}
