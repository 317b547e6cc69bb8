package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

// TestShortName checks that a Home with a long path has a short name, which is made again if it is
// missing or leads elsewhere. Other Homes have none.
func TestShortName(t *testing.T) {
	dir, root := t.TempDir(), t.TempDir()
	e := New(root, engine.Guest{}, ShortNamesIn(func() (string, error) { return dir, nil }))
	home := func(name string) keyway.Home { return e.homes.Home(keyway.Name(name)) }
	if got, err := e.inner("/home/ada/w"); err != nil || got != "/home/ada/w" {
		t.Errorf("a short path became %s, %v", got, err)
	}
	long := home(strings.Repeat("w", 110))
	first, err := e.inner(long)
	if err != nil || len(first.AgentSocket()) > maxSocketPath || !isNamed(string(first), long) {
		t.Fatalf("%s, %v", first, err)
	}
	for _, target := range []string{"", root} {
		if err := os.Remove(string(first)); err != nil {
			t.Fatal(err)
		}
		if target != "" {
			if err := os.Symlink(target, string(first)); err != nil {
				t.Fatal(err)
			}
		}
		if again, err := e.inner(long); err != nil || again != first || !isNamed(string(again), long) {
			t.Errorf("%s, %v; it was %s", again, err, first)
		}
	}
	if other := home(strings.Repeat("x", 110)); isNamed(string(first), other) || isNamed("", long) {
		t.Error("a name is taken for another's")
	}
	e.forgetShort(long)
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

// TestNoShortNameIsLeft checks that a caller that uses a Home during its removal leaves no link to
// it.
func TestNoShortNameIsLeft(t *testing.T) {
	dir := t.TempDir()
	e := New(t.TempDir(), engine.Guest{}, ShortNamesIn(func() (string, error) { return dir, nil }))
	name := keyway.Name(strings.Repeat("w", 110))
	e.home(name) // which does not exist any more
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}
