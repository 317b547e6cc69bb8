//go:build unix

package dirs

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// isolate sets directories of the test's own.
func isolate(t *testing.T) (home string) {
	t.Helper()
	home = t.TempDir()
	t.Setenv("HOME", home)
	for _, v := range []string{"XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"} {
		t.Setenv(v, "")
	}
	return home
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Mode().Perm()
}

func TestUsualDirectories(t *testing.T) {
	home := isolate(t)
	for _, c := range []struct {
		get  func() (string, error)
		want string
	}{
		{Config, ".config/keyway"},
		{State, ".local/state/keyway"},
	} {
		got, err := c.get()
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join(home, c.want); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if m := mode(t, got); m != 0o700 {
			t.Errorf("%s has mode %o", got, m)
		}
	}
}

func TestVariables(t *testing.T) {
	home := isolate(t)
	t.Setenv("XDG_STATE_HOME", filepath.Join(home, "with space"))
	if got, err := State(); err != nil || got != filepath.Join(home, "with space", "keyway") {
		t.Errorf("got %q, %v", got, err)
	}
	t.Setenv("XDG_STATE_HOME", "relative")
	if got, err := State(); err != nil || got != filepath.Join(home, ".local/state/keyway") {
		t.Errorf("a relative value must be ignored: got %q, %v", got, err)
	}
}

func TestLooseDirectoryIsClosed(t *testing.T) {
	home := isolate(t)
	dir := filepath.Join(home, ".local/state/keyway")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := State(); err != nil {
		t.Fatal(err)
	}
	if m := mode(t, dir); m != 0o700 {
		t.Errorf("mode %o", m)
	}
}

func TestLinkedStateIsFollowed(t *testing.T) {
	home := isolate(t)
	elsewhere := filepath.Join(home, "elsewhere")
	if err := os.MkdirAll(filepath.Join(home, ".local/state"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(home, ".local/state/keyway")); err != nil {
		t.Fatal(err)
	}
	if _, err := State(); err != nil {
		t.Error(err)
	}
}

func TestFileInTheWay(t *testing.T) {
	home := isolate(t)
	if err := os.WriteFile(filepath.Join(home, ".config"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Config()
	if !keyway.Is(err, keyway.BadConfig) || keyway.AsError(err).Next == "" {
		t.Errorf("got %v", err)
	}
}

func TestRuntimeDirectory(t *testing.T) {
	isolate(t)
	base, err := os.MkdirTemp("/tmp", "kw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	t.Setenv("XDG_RUNTIME_DIR", base)
	got, err := Runtime()
	if err != nil || got != filepath.Join(base, "keyway") || mode(t, got) != 0o700 {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestRuntimeFallsBack checks that a missing runtime directory is not made: it belongs to the
// login, and a replacement would be lost or shared.
func TestRuntimeFallsBack(t *testing.T) {
	isolate(t)
	absent := filepath.Join(t.TempDir(), "absent")
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", "relative", absent, long} {
		t.Setenv("XDG_RUNTIME_DIR", dir)
		got, err := Runtime()
		if err != nil {
			t.Errorf("%q: %v", dir, err)
			continue
		}
		if len(got) > maxRuntime || mode(t, got) != 0o700 {
			t.Errorf("%q: got %s", dir, got)
		}
	}
	if _, err := os.Stat(absent); err == nil {
		t.Errorf("%s was made", absent)
	}
}

func TestLinkInOpenDirectoryIsRefused(t *testing.T) {
	open := t.TempDir()
	if err := os.Chmod(open, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	trap := filepath.Join(open, name+"-"+strconv.Itoa(os.Getuid()))
	if err := os.Symlink(t.TempDir(), trap); err != nil {
		t.Fatal(err)
	}
	if err := makePrivate(trap); err == nil {
		t.Error("a link that anybody could have put there was followed")
	}
}

func TestForeignDirectoryIsRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a directory away")
	}
	dir := filepath.Join(t.TempDir(), "foreign")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if err := makePrivate(dir); err == nil {
		t.Error("another user's directory was taken")
	}
}

// TestAgentsBehindManyKilledOnes checks that no number of killed agents hides a running one.
func TestAgentsBehindManyKilledOnes(t *testing.T) {
	isolate(t)
	dir := t.TempDir()
	var want []string
	for n := range 200 {
		path := filepath.Join(dir, strconv.Itoa(n))
		want = append(want, path)
		if _, err := RecordAgent(path); err != nil {
			t.Fatal(err)
		}
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
	}
	list, err := Agents()
	slices.Sort(list)
	slices.Sort(want)
	if err != nil || !slices.Equal(list, want) {
		t.Errorf("%d of %d agents, %v", len(list), len(want), err)
	}
}

// TestAgentsAreRecorded checks that agents are found wherever their sockets are.
func TestAgentsAreRecorded(t *testing.T) {
	isolate(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	var ended []func()
	for _, name := range []string{"a", "b", "a", "gone"} {
		end, err := RecordAgent(path(name))
		if err != nil {
			t.Fatal(err)
		}
		ended = append(ended, end)
		if name == "gone" {
			continue
		}
		if l, err := net.Listen("unix", path(name)); err == nil { // not the second time
			defer l.Close()
		}
	}
	ended[0]() // while another listens there
	list, err := Agents()
	slices.Sort(list)
	if err != nil || !slices.Equal(list, []string{path("a"), path("b")}) {
		t.Errorf("%q, %v", list, err)
	}
	record, err := agents()
	if err != nil {
		t.Fatal(err)
	}
	ended[3]()
	if left, err := os.ReadDir(record); len(left) != 2 || err != nil {
		t.Errorf("%d records are left, %v", len(left), err)
	}
}
