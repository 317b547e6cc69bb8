//go:build unix

package contents

import (
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/storage"
	"github.com/moby/moby/api/types/system"

	"keyway/internal/keyway"
)

// TestUnlisted has an upper directory with files that its daemon lists and does not list, and with
// what is no changed file.
func TestUnlisted(t *testing.T) {
	upper, outside := t.TempDir(), t.TempDir()
	for name, in := range map[string]string{"opt/tool.py": upper, "etc/listed": upper, "theirs": outside} {
		file := filepath.Join(in, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"opt/link": "tool.py", "out": outside} {
		if err := os.Symlink(to, filepath.Join(upper, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(upper, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	listed := []keyway.FileChange{{Path: "/etc", Change: keyway.ChangeModified}, {Path: "/etc/listed", Change: keyway.ChangeModified}}
	compares := system.Info{DriverStatus: [][2]string{{"Backing Filesystem", "extfs"}, {"Native Overlay Diff", "false"}}}
	c := container.InspectResponse{GraphDriver: &storage.DriverData{Data: map[string]string{"UpperDir": upper}}}
	want := []keyway.FileChange{{Path: "/opt/link", Change: keyway.ChangeModified}, {Path: "/opt/tool.py", Change: keyway.ChangeModified}, {Path: "/out", Change: keyway.ChangeModified}}
	if got := Unlisted(compares, c, listed); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	for what, got := range map[string][]keyway.FileChange{
		"a daemon that reads the directory itself": Unlisted(system.Info{DriverStatus: [][2]string{{"Native Overlay Diff", "true"}}}, c, listed),
		"a daemon that does not say so":            Unlisted(system.Info{}, c, listed),
		"no directory":                             Unlisted(compares, container.InspectResponse{}, listed),
		"a directory that is not here": Unlisted(compares, container.InspectResponse{GraphDriver: &storage.DriverData{
			Data: map[string]string{"UpperDir": filepath.Join(upper, "none")}}}, listed),
	} {
		if len(got) != 0 {
			t.Errorf("%s: %+v", what, got)
		}
	}
}
