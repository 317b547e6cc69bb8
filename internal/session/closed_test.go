//go:build linux

package session

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"keyway/internal/keyway"
)

// TestTheRegistryIsClosed checks that only the workspace's user can reach the output and the input
// of sessions, whatever the umask.
func TestTheRegistryIsClosed(t *testing.T) {
	home := keyway.Home(filepath.Join(t.TempDir(), "home"))
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	c, err := Registry{Dir: home.Sessions(), Workspace: "train"}.Create("job", []string{"true"})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{home.Sessions(), c.Dir} {
		if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, st.Mode(), err)
		}
	}
}
