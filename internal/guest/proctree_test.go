//go:build linux

package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func FuzzMountInfo(f *testing.F) {
	f.Add(`36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 - ext3 /dev/root rw`)
	f.Fuzz(func(t *testing.T, table string) {
		for _, p := range parseMountInfo(table) {
			if p == "" {
				t.Fatal("an empty mount point")
			}
		}
	})
}

func TestSweepLeavesMountsAlone(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"home/a/mount", "home/b", "outside"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	for _, file := range []string{"home/file", "home/a/file", "home/b/file", "outside/precious"} {
		must(t, os.WriteFile(filepath.Join(dir, file), nil, 0o400))
	}
	must(t, os.Symlink(filepath.Join(dir, "outside"), filepath.Join(dir, "home/link")))
	// In a mount namespace of its own, so that nothing stays mounted.
	script := `mount --bind "$1/outside" "$1/home/a/mount" && "$2" sweep --home "$1/home"`
	out, err := exec.Command("unshare", "--mount", "sh", "-c", script, "sh", dir, guestProgram).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "outside/precious")); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "home"))
	must(t, err)
	if len(entries) != 1 || entries[0].Name() != "a" {
		t.Errorf("left: %v", entries)
	}
	entries, err = os.ReadDir(filepath.Join(dir, "home/a"))
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
}
