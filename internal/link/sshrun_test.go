package link

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestWhatAKilledLinkLeft checks that a link removes the directories and logs of the runs that a
// killed one has left, including those of earlier versions, and nothing else.
func TestWhatAKilledLinkLeft(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"run-1", "way-2", "link.d"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "below"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"run-3.log", "link.log"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cleanRuns(dir)
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range left {
		names = append(names, e.Name())
	}
	if want := []string{"link.d", "link.log"}; !slices.Equal(names, want) {
		t.Errorf("left: %q, want %q", names, want)
	}
}
