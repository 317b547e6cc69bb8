//go:build linux

package holder

import (
	"path/filepath"
	"testing"

	"keyway/internal/keyway"
)

// TestHomeOfASession checks that the workspace's Home says how long a job has when the workspace is
// stopped.
func TestHomeOfASession(t *testing.T) {
	home := keyway.Home("/some/where/ws")
	if got := homeOf(filepath.Join(home.Sessions(), "job")); got != home {
		t.Errorf("%s, want %s", got, home)
	}
}
