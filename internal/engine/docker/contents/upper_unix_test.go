//go:build unix

package contents

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/storage"

	"keyway/internal/keyway"
)

// TestCompared checks files in an upper directory: some that the daemon lists, some that it does
// not list, some that equal those of the image, and some that are not changed files.
func TestCompared(t *testing.T) {
	upper, near, far, outside := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	long := strings.Repeat("x", 100<<10)
	for file, content := range map[string]string{
		upper + "/opt/tool.py": "x = 3", near + "/opt/tool.py": "x = 2", far + "/opt/tool.py": "x = 3",
		upper + "/opt/far": long + "1", far + "/opt/far": long + "2",
		upper + "/opt/same": long, far + "/opt/same": long,
		upper + "/etc/listed": "1", near + "/etc/listed": "2",
		upper + "/etc/opened": "1", near + "/etc/opened": "1", upper + "/etc/touched": "1", near + "/etc/touched": "1",
		upper + "/etc/open to all": "1", near + "/etc/open to all": "1", upper + "/etc/program": "1", near + "/etc/program": "1",
		upper + "/etc/replaced": "1", near + "/etc/replaced": "2", upper + "/etc/hidden": "1", near + "/etc/hidden": "2", far + "/etc/hidden": "1",
		upper + "/opt/new": "gone meanwhile", outside + "/theirs": "1", near + "/out/theirs": "2",
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chtimes(upper+"/etc/touched", time.Unix(2, 0), time.Unix(2, 0)), os.Chmod(upper+"/etc/open to all", 0o644),
		os.Chmod(upper+"/etc/program", 0o700), os.Chmod(near+"/etc/program", 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(upper, "out")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(upper, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	modified := func(paths ...string) (all []keyway.FileChange) {
		for _, path := range paths {
			all = append(all, keyway.FileChange{Path: path, Change: keyway.ChangeModified})
		}
		return all
	}
	stay := append(modified("/etc", "/etc/listed", "/etc/touched", "/etc/open to all", "/etc/program", "/etc/replaced", "/etc/hidden", "/etc/none", "/out/theirs"),
		keyway.FileChange{Path: "/etc/opened", Change: keyway.ChangeAdded})
	listed := append(modified("/etc/opened"), stay...)
	c := container.InspectResponse{GraphDriver: &storage.DriverData{Data: map[string]string{"UpperDir": upper, "LowerDir": "/none:" + near + ":" + far}}}
	want := append(slices.Clone(stay), modified("/opt/far", "/opt/tool.py")...)
	if got := Compared(c, listed, true); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := Compared(c, listed, false); !reflect.DeepEqual(got, slices.Insert(want, 0, listed[0])) {
		t.Errorf("of Docker: %+v", got)
	}
	c.GraphDriver.Data["UpperDir"] = filepath.Join(upper, "none")
	for _, c := range []container.InspectResponse{c, {}} {
		if got := Compared(c, listed, true); !reflect.DeepEqual(got, listed) {
			t.Errorf("of no directory: %+v", got)
		}
	}
}
