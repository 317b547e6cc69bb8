package contents

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/moby/moby/api/types/container"

	"keyway/internal/keyway"
	"keyway/internal/sftp"
	"keyway/internal/sftp/client"
)

// guest serves the machine's own files, and counts the requests.
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

// TestTheGuestIsAskedOnce changes containers of one image in one way each. It checks that the list
// of another container is used only where none of its files can differ.
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
		"a user":        {func(c *Container) { c.Changes = modified("/etc", "/etc/passwd") }, 1, 0},
		"a group":       {func(c *Container) { c.Changes = modified("/etc", "/etc/group") }, 1, 0},
		"a password":    {func(c *Container) { c.Changes = modified("/etc", "/etc/shadow") }, 0, 0},
		"other users":   {func(c *Container) { c.Mounted = []string{"/etc/passwd"} }, 1, 0},
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

// TestPackagesOfAHome checks packages in a home directory. pip installs into it if it cannot
// install elsewhere, and a home directory is often not part of the image.
func TestPackagesOfAHome(t *testing.T) {
	home := t.TempDir()
	var images Images
	g := &guest{t: t}
	defer g.alive.Wait()
	c := Container{Image: "sha256:one", Homes: []string{"/nowhere", home}, Mounted: []string{home}}
	for _, want := range []string{"", "mine==1", "mine==2"} {
		if name, version, ok := strings.Cut(want, "=="); ok {
			if err := os.MkdirAll(filepath.Join(home, ".local/lib/python3.12/site-packages", name+"-"+version+".dist-info"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		shown, err := images.Of(c, g.open)
		if err != nil || want != "" && !slices.Contains(shown.Python, want) {
			t.Errorf("%q: %q, %v", want, shown.Python, err)
		}
	}
	for user, want := range map[string]string{
		"": "/root", "0:0": "/root", "root": "/root", "dev": "/home/dev /work /.keyway/data/home", "2001:2001": "/home/2001 /work /.keyway/data/home",
	} {
		config := &container.Config{User: user, WorkingDir: "/work", Env: []string{"A=b"}}
		if got := strings.Join(Homes(container.InspectResponse{Config: config}), " "); got != want {
			t.Errorf("%q: %s, want %s", user, got, want)
		}
		config.Env = append(config.Env, "HOME=/h")
		if got := Homes(container.InspectResponse{Config: config}); got[0] != "/h" {
			t.Errorf("%q: %s", user, got)
		}
	}
}

// TestProgramsThatHideOthers checks that an added program that PATH finds first counts as a change
// of the hidden program.
func TestProgramsThatHideOthers(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"local", "bin"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("bin", filepath.Join(root, "merged")); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"local/python3", "local/own", "bin/python3", "bin/new", "local/both", "bin/both"} {
		if err := os.WriteFile(filepath.Join(root, program), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var images Images
	g := &guest{t: t}
	defer g.alive.Wait()
	c := Container{Image: "sha256:one", Env: []string{"PATH=" + root + "/local:" + root + "/merged:" + root + "/bin:/nowhere"}}
	for _, name := range []string{"local/python3", "local/own", "bin/new", "local/both", "bin/both", "local/deep/x"} {
		c.Changes = append(c.Changes, keyway.FileChange{Path: filepath.Join(root, name), Change: keyway.ChangeAdded})
	}
	shown, err := images.Of(c, g.open)
	if err != nil || len(shown.Files) != 1 || shown.Files[0].Path != filepath.Join(root, "local/python3") || shown.Files[0].Hash == "" {
		t.Errorf("%+v, %v", shown.Files, err)
	}
}

// TestLinksAboveADirectory checks that a directory of PATH is compared under the name that the
// daemon lists.
func TestLinksAboveADirectory(t *testing.T) {
	root := t.TempDir()
	for _, program := range []string{"mini/bin/python3", "bin/python3"} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(program)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, program), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("mini", filepath.Join(root, "conda")), os.Symlink("loop", filepath.Join(root, "loop"))); err != nil {
		t.Fatal(err)
	}
	var images Images
	g := &guest{t: t}
	defer g.alive.Wait()
	c := Container{Image: "sha256:one", Env: []string{"PATH=" + root + "/loop/bin:" + root + "/conda/bin:" + root + "/bin:/"},
		Changes: []keyway.FileChange{{Path: filepath.Join(root, "mini/bin/python3"), Change: keyway.ChangeAdded}}}
	for _, known := range []bool{false, true} {
		shown, err := images.Of(c, g.open)
		if err != nil || len(shown.Files) != 1 || shown.Files[0] != (keyway.FileChange{Path: c.Changes[0].Path, Change: keyway.ChangeAdded, Hash: shown.Files[0].Hash}) {
			t.Errorf("known %t: %+v, %v", known, shown.Files, err)
		}
	}
}

// TestALinkWithAnotherName checks that a directory of PATH is also known under the target of its
// link.
func TestALinkWithAnotherName(t *testing.T) {
	root := t.TempDir()
	for _, program := range []string{"node-v20/tool", "bin/tool"} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(program)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, program), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("node-v20", filepath.Join(root, "node")); err != nil {
		t.Fatal(err)
	}
	g := &guest{t: t}
	defer g.alive.Wait()
	added := func(name string) Container {
		return Container{Image: "sha256:one", Env: []string{"PATH=" + root + "/node:" + root + "/bin"},
			Changes: []keyway.FileChange{{Path: filepath.Join(root, name), Change: keyway.ChangeAdded}}}
	}
	for _, first := range []string{"node-v20/tool", "node-v18/tool"} {
		var images Images
		g.asked = 0
		for _, name := range []string{first, "node-v20/tool", "node-v18/tool"} {
			c := added(name)
			shown, err := images.Of(c, g.open)
			hides := name == "node-v20/tool"
			if err != nil || len(shown.Files) > 1 || hides != (len(shown.Files) == 1 && shown.Files[0].Path == c.Changes[0].Path) {
				t.Errorf("%s after %s: %+v, %v", name, first, shown.Files, err)
			}
		}
		if g.asked != 2 { // none for files outside of PATH
			t.Errorf("the guest is asked %d times after %s, want 2", g.asked, first)
		}
	}
}

// TestManyPrograms checks that the programs that PATH finds first are examined first, and that the
// others are counted.
func TestManyPrograms(t *testing.T) {
	root := t.TempDir()
	for _, program := range []string{"local/python3", "bin/python3"} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(program)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, program), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	added := func(dir string) (all []keyway.FileChange) {
		for n := range maxPrograms {
			all = append(all, keyway.FileChange{Path: filepath.Join(root, dir, fmt.Sprint(n)), Change: keyway.ChangeAdded})
		}
		return append(all, keyway.FileChange{Path: filepath.Join(root, "local/python3"), Change: keyway.ChangeAdded})
	}
	var images Images
	g := &guest{t: t}
	defer g.alive.Wait()
	for dir, more := range map[string]int{"bin": 1, "last": 0} {
		c := Container{Image: "sha256:one", Env: []string{"PATH=" + root + "/local:" + root + "/bin:" + root + "/last"}, Changes: added(dir)}
		shown, err := images.Of(c, g.open)
		if err != nil || len(shown.Files) != 1 || shown.More != more {
			t.Errorf("%s: %+v and %d more, want %d; %v", dir, shown.Files, shown.More, more, err)
		}
	}
}

// TestAGuestThatEnds checks that a broken connection is an error, and does not mean a container
// without changes.
func TestAGuestThatEnds(t *testing.T) {
	var images Images
	g := &guest{t: t}
	defer g.alive.Wait()
	c := Container{Image: "sha256:one"}
	if _, err := images.Of(c, g.open); err != nil {
		t.Fatal(err)
	}
	for _, changed := range []keyway.FileChange{{Path: "/usr/local/bin/env", Change: keyway.ChangeAdded}, {Path: "/usr/bin/env", Change: keyway.ChangeModified}} {
		c.Changes = []keyway.FileChange{changed}
		shown, err := images.Of(c, func() (io.ReadWriteCloser, error) {
			here, there := net.Pipe()
			g.alive.Go(func() {
				defer there.Close()
				_, _ = io.ReadFull(there, make([]byte, 9))            // its greeting
				_, _ = there.Write([]byte{0, 0, 0, 5, 2, 0, 0, 0, 3}) // and the answer
			})
			return here, nil
		})
		if err == nil {
			t.Errorf("%s: %+v", changed.Path, shown.Files)
		}
	}
}

// TestMuchContent checks that, beyond the bound, the sizes of files are compared, and that the
// largest files are the first of these.
func TestMuchContent(t *testing.T) {
	dir := t.TempDir()
	var changed []keyway.FileChange
	for _, content := range []string{"large", "one", "two", "six"} {
		file := filepath.Join(dir, content)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		changed = append(changed, keyway.FileChange{Path: file, Change: keyway.ChangeModified})
	}
	g := &guest{t: t}
	defer g.alive.Wait()
	conn, err := g.open()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	files, err := client.New(conn, maxSaid)
	if err != nil {
		t.Fatal(err)
	}
	told, more := hashed(changed[1:], files, 3)
	if len(told) != 3 || more != 0 || told[0].Hash == told[1].Hash || told[1].Hash != told[2].Hash {
		t.Errorf("%+v and %d more", told, more)
	}
	withLarge, more := hashed(changed, files, 3)
	if len(withLarge) != 4 || more != 0 || withLarge[0].Path != changed[0].Path || withLarge[0].Hash == "" || !slices.Equal(withLarge[1:], told) {
		t.Errorf("a large file before them: %+v and %d more", withLarge, more)
	}
}

// TestLimitsAreTheContainersOwn checks that a limit that was changed at the daemon is reported with
// its present value.
func TestLimitsAreTheContainersOwn(t *testing.T) {
	const pids = 100
	asked := keyway.Resources{CPUs: 1.3, Memory: 1 << 30}
	is := func(cpus, memory, pids int64) container.InspectResponse {
		return container.InspectResponse{HostConfig: &container.HostConfig{Resources: container.Resources{NanoCPUs: cpus, Memory: memory, PidsLimit: &pids}}}
	}
	quota := func(quota, period int64) container.InspectResponse {
		c := is(0, 1<<30, pids)
		c.HostConfig.CPUQuota, c.HostConfig.CPUPeriod = quota, period
		return c
	}
	for want, c := range map[string]container.InspectResponse{
		"0.5 1073741824 0":  quota(50_000, 100_000),
		"0.25 1073741824 0": quota(25_000, 0),
		"0 1073741824 0":    quota(-1, 100_000),
		"1.3 1073741824 0":  is(1_300_000_000, 1<<30, pids),
		"2 1073741824 0":    is(2_000_000_000, 1<<30, pids),
		"1.3 2147483648 7":  is(1_300_000_000, 1<<31, 7),
		"0 0 -1":            is(0, 0, 0),
		"1.3 1073741824 0 ": {},
	} {
		got := Limits(asked, c, false, pids)
		if Limits(asked, c, true, pids).CPUs != asked.CPUs {
			t.Error("Podman is believed")
		}
		if text := fmt.Sprint(got.CPUs, got.Memory, got.PidsLimit); text != strings.Join(strings.Fields(want), " ") {
			t.Errorf("%s, want %s", text, want)
		}
	}
}

// TestWhatAChangedOneShowsIsItsOwn checks that no list is kept from a container whose files may
// have been changed.
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
