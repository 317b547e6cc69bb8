package docker

import (
	"testing"

	"github.com/moby/moby/api/types/container"
)

// TestWhatIsHalfMade checks that only a container that was never started counts as half made, so
// that the next Create may remove it. After a start of the machine, Podman calls all other
// containers created, too.
func TestWhatIsHalfMade(t *testing.T) {
	for _, c := range []struct {
		status  container.ContainerState
		started string
		half    bool
	}{
		{container.StateCreated, "0001-01-01T00:00:00Z", true},
		{container.StateCreated, "2026-11-29T08:15:00.123456789Z", false},
		{container.StateCreated, "2026-11-29T08:15:00+01:00", false},
		{container.StateCreated, "", false},
		{container.StateCreated, "never", false},
		{container.StateExited, "0001-01-01T00:00:00Z", false},
		{container.StateRunning, "0001-01-01T00:00:00Z", false},
	} {
		if got := halfMade(&container.State{Status: c.status, StartedAt: c.started}); got != c.half {
			t.Errorf("%s since %q: %v", c.status, c.started, got)
		}
	}
}
