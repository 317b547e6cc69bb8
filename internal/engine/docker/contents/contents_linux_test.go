package contents

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"

	"keyway/internal/keyway"
	"keyway/internal/sftp"
)

// guest serves the machine's own files, and counts how often it is asked to.
type guest struct {
	t     *testing.T
	asked int
	alive sync.WaitGroup
}

func (g *guest) open() (io.ReadWriteCloser, error) {
	g.asked++
	here, there := net.Pipe()
	g.alive.Go(func() { _ = sftp.Serve(context.Background(), there, sftp.Config{}) })
	return here, nil
}

// TestTheGuestIsAskedOnce has containers of one image, in which each thing is changed that
// may be: what another has shown is believed only where nothing of it can be another.
func TestTheGuestIsAskedOnce(t *testing.T) {
	dir := t.TempDir()
	site := filepath.Join(dir, "lib/python3.12/site-packages")
	for _, d := range []string{filepath.Join(site, "numpy-2.1.0.dist-info"), filepath.Join(dir, "bin")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const tool = "/usr/bin/env"
	modified := func(paths ...string) (all []keyway.FileChange) {
		for _, p := range paths {
			all = append(all, keyway.FileChange{Path: p, Change: keyway.ChangeModified})
		}
		return all
	}
	plain := Container{Image: "sha256:one", Env: []string{"PATH=" + dir + "/bin", "A=1"}}
	var images Images
	g := &guest{t: t}
	defer g.alive.Wait()
	look := func(c Container) Shown {
		t.Helper()
		shown, err := images.Of(c, g.open)
		if err != nil || !slices.Contains(shown.Python, "numpy==2.1.0") {
			t.Fatalf("%+v, %v", shown, err)
		}
		return shown
	}
	first := look(plain)
	for name, c := range map[string]struct {
		change func(*Container)
		asks   int
		files  int
	}{
		"nothing":       {func(*Container) {}, 0, 0},
		"a variable":    {func(c *Container) { c.Env = append(c.Env, "B=2") }, 0, 0},
		"what runs do":  {func(c *Container) { c.Changes = modified("/root", "/root/.cache", "/root/.cache/x", "/tmp/x") }, 0, 0},
		"a mount":       {func(c *Container) { c.Mounted = []string{"/data", string(keyway.GuestHome)} }, 0, 0},
		"a program":     {func(c *Container) { c.Changes = modified("/usr", "/usr/bin", tool) }, 1, 1},
		"a package":     {func(c *Container) { c.Changes = modified(site) }, 1, 0},
		"pip's command": {func(c *Container) { c.Changes = modified(filepath.Join(site, "new-1.dist-info")) }, 1, 0},
		"mounted over":  {func(c *Container) { c.Mounted = []string{dir} }, 1, 0},
		"another place": {func(c *Container) { c.Env = append(c.Env, "PYTHONPATH=/nowhere") }, 1, 0},
		"another image": {func(c *Container) { c.Image = "sha256:two" }, 1, 0},
	} {
		one := plain
		one.Env = slices.Clone(one.Env)
		c.change(&one)
		g.asked = 0
		shown := look(one)
		if g.asked != c.asks {
			t.Errorf("%s: the guest is asked %d times, want %d", name, g.asked, c.asks)
		}
		if !reflect.DeepEqual(shown.Software, first.Software) {
			t.Errorf("%s: installed is %+v", name, shown.Software)
		}
		if len(shown.Files) != c.files || c.files == 1 && (shown.Files[0].Path != tool || len(shown.Files[0].Hash) != len("sha256:")+64) {
			t.Errorf("%s: changed are %+v", name, shown.Files)
		}
	}
}

// TestWhatAChangedOneShowsIsItsOwn: nothing is remembered of a container that may have
// changed what it shows.
func TestWhatAChangedOneShowsIsItsOwn(t *testing.T) {
	var images Images
	g := &guest{t: t}
	defer g.alive.Wait()
	changed := Container{Image: "sha256:one", Changes: []keyway.FileChange{{Path: "/var/lib/dpkg/status", Change: keyway.ChangeModified}}}
	for _, c := range []Container{changed, {Image: "sha256:one"}, {Image: "sha256:one"}} {
		if _, err := images.Of(c, g.open); err != nil {
			t.Fatal(err)
		}
	}
	if g.asked != 2 {
		t.Errorf("the guest is asked %d times, want 2", g.asked)
	}
	refused := errors.New("refused")
	if _, err := images.Of(changed, func() (io.ReadWriteCloser, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Errorf("nobody to be asked: %v", err)
	}
}
