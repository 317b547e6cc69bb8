//go:build linux

package holder

import (
	"path/filepath"
	"testing"

	"keyway/internal/keyway"
)

// How long a job has when the workspace is stopped stands in the workspace's home.
func TestHomeOfASession(t *testing.T) {
	home := keyway.Home("/some/where/ws")
	if got := homeOf(filepath.Join(home.Sessions(), "job")); got != home {
		t.Errorf("%s, want %s", got, home)
	}
}
