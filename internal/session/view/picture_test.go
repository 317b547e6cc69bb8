//go:build linux

package view

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/screen"
)

// TestAPictureKeepsTheUsersModes checks that the soft reset with which a picture begins comes before
// the modes are saved, since some terminals forget saved modes at a reset, and that a later picture
// leaves none to restore.
func TestAPictureKeepsTheUsersModes(t *testing.T) {
	const save = screen.SaveModes
	restore := strings.TrimSuffix(save, "s") + "r"
	for pictures := 1; pictures <= 2; pictures++ {
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		terminal := &Terminal{In: out, Out: out, Display: true}
		for range pictures {
			if err := terminal.Picture(screen.New(80, 24, screen.Options{}).Snapshot(nil)); err != nil {
				t.Fatal(err)
			}
		}
		terminal.Restore()
		data, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		if got := strings.Count(text, softReset); got != pictures || !strings.HasPrefix(text, softReset+save) {
			t.Errorf("%d soft resets for %d pictures: %q", got, pictures, text)
		}
		if got := strings.Contains(text, restore); got != (pictures == 1) {
			t.Errorf("after %d pictures, modes are restored: %t", pictures, got)
		}
	}
}
