package node

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

func TestPrune(t *testing.T) {
	root, cache := t.TempDir(), t.TempDir()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	long, lately := now.Add(-unusedFor-time.Hour), now.Add(-unusedFor+time.Hour)
	put := func(used time.Time, path ...string) string {
		t.Helper()
		dir := filepath.Join(path...)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, used, used); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	sent := func(digit string) string { return "keyway-" + strings.Repeat(digit, 64) }
	self := put(long, cache, sent("a"))
	put(long, cache, sent("b"))
	put(long, cache, "."+sent("c")+".123")
	put(lately, cache, sent("d"))
	put(long, cache, "keyway-cafe")
	put(long, cache, "own")
	mine := engine.Guest{Dir: put(long, root, "guests", "mine")}
	used := engine.Guest{Dir: put(long, root, "guests", "used")}
	put(long, root, "guests", "old")
	put(long, root, "guests", ".new-1")
	put(lately, root, "guests", "recent")
	homes := engine.HomesIn(root)
	if _, err := homes.Make(keyway.Spec{Name: "train", Engine: "docker"}, used); err != nil {
		t.Fatal(err)
	}
	has := func(dir string, want ...string) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if slices.Sort(want); !slices.Equal(names, want) {
			t.Errorf("%s has %q, want %q", dir, names, want)
		}
	}

	Prune(root, homes, mine, filepath.Join(cache, "own"), now)
	has(filepath.Join(root, "guests"), "mine", "used", "recent")
	has(cache, sent("a"), sent("b"), "."+sent("c")+".123", sent("d"), "keyway-cafe", "own")

	Prune(root, homes, mine, self, now)
	has(cache, sent("a"), sent("d"), "keyway-cafe", "own")
	for _, dir := range []string{self, mine.Dir} {
		if st, err := os.Stat(dir); err != nil || !st.ModTime().Equal(now) {
			t.Errorf("%s was last used at %v, %v; want now", dir, st.ModTime(), err)
		}
	}

	// A workspace whose guest is unknown may run with any of them.
	put(long, root, "guests", "old")
	if err := os.Mkdir(string(homes.Home("other")), 0o777); err != nil {
		t.Fatal(err)
	}
	Prune(root, homes, mine, self, now)
	has(filepath.Join(root, "guests"), "mine", "used", "recent", "old")
}
