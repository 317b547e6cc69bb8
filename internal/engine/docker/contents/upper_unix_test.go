//go:build unix

package contents

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/storage"

	"keyway/internal/keyway"
)

// TestUnlisted checks files in an upper directory: some that the daemon lists, some that it does
// not list, some that equal those of the image, and some that are not changed files.
func TestUnlisted(t *testing.T) {
	upper, near, far, outside := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	long := strings.Repeat("x", 100<<10)
	for file, content := range map[string]string{
		upper + "/opt/tool.py": "x = 3", near + "/opt/tool.py": "x = 2", far + "/opt/tool.py": "x = 3",
		upper + "/opt/far": long + "1", far + "/opt/far": long + "2",
		upper + "/opt/same": long, far + "/opt/same": long,
		upper + "/etc/listed": "1", near + "/etc/listed": "2",
		upper + "/opt/new": "gone meanwhile", outside + "/theirs": "1", near + "/out/theirs": "2",
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(upper, "out")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(upper, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	listed := []keyway.FileChange{{Path: "/etc/listed", Change: keyway.ChangeModified}}
	c := container.InspectResponse{GraphDriver: &storage.DriverData{Data: map[string]string{"UpperDir": upper, "LowerDir": "/none:" + near + ":" + far}}}
	want := []keyway.FileChange{{Path: "/opt/far", Change: keyway.ChangeModified}, {Path: "/opt/tool.py", Change: keyway.ChangeModified}}
	if got := Unlisted(c, listed); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	c.GraphDriver.Data["UpperDir"] = filepath.Join(upper, "none")
	if got := append(Unlisted(c, listed), Unlisted(container.InspectResponse{}, listed)...); len(got) != 0 {
		t.Errorf("of no directory: %+v", got)
	}
}
