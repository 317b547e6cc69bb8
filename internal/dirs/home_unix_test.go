//go:build unix

package dirs

import (
	"os"
	"testing"

	"keyway/internal/keyway"
)

// TestARelativeHomeIsRefused checks that a relative HOME, which means another directory in each
// working directory, is refused whatever else is set, and that nothing is made.
func TestARelativeHomeIsRefused(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, home := range []string{".", "..", "home", "./home", "~"} {
		t.Setenv("HOME", home)
		for _, base := range []string{"", t.TempDir()} {
			t.Setenv("XDG_STATE_HOME", base)
			t.Setenv("XDG_CONFIG_HOME", base)
			for _, of := range []func() (string, error){State, Config} {
				if path, err := of(); !keyway.Is(err, keyway.BadConfig) || keyway.AsError(err).Next == "" {
					t.Errorf("HOME=%s gives %q, %v", home, path, err)
				}
			}
		}
	}
	if made, err := os.ReadDir(dir); err != nil || len(made) > 0 {
		t.Errorf("made: %v, %v", made, err)
	}
}
