package engine

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keyway/internal/filelock"
	"keyway/internal/keyway"
)

// TestModes checks which users have access to which files, whatever the umask is and whatever
// existed before.
func TestModes(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077} {
		for _, kind := range []string{"docker", Host} {
			t.Run(fmt.Sprintf("%s, umask %#o", kind, umask), func(t *testing.T) { testModes(t, umask, kind) })
		}
	}
}

func testModes(t *testing.T, umask int, kind string) {
	homes := HomesIn(t.TempDir())
	old := syscall.Umask(umask)
	defer syscall.Umask(old)
	s := spec("train")
	s.Engine = kind
	home, err := homes.Make(s, Guest{Dir: "/guests/cafe"})
	if err != nil {
		t.Fatal(err)
	}
	mode := 0o777 | fs.ModeSticky
	if kind == Host {
		mode = 0o700
	}
	for path, want := range map[string]fs.FileMode{
		homes.Dir(): 0o700, string(home): mode, homes.recordPath("train"): 0o600, homes.keyPath("train"): 0o600, home.AuthorizedKeys(): 0o644,
	} {
		if st, err := os.Stat(path); err != nil || st.Mode()&^fs.ModeDir != want {
			t.Errorf("%s: %v, %v; want %v", path, st.Mode(), err, want)
		}
	}
	if err := os.Chmod(homes.Dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := homes.TryLock("other")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if st, err := os.Stat(homes.Dir()); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the directory of all Homes stays open: %v, %v", st.Mode(), err)
	}
}

// TestHostKeyIsThePlaces checks that the place reads a guest's key only from files that only the
// place can write.
func TestHostKeyIsThePlaces(t *testing.T) {
	homes := HomesIn(t.TempDir())
	home, err := homes.Make(spec("train"), Guest{Dir: "/guests/cafe"})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := homes.Record("train")
	if err != nil {
		t.Fatal(err)
	}
	line, err := homes.HostKey("train")
	if err != nil {
		t.Fatal(err)
	}
	key, err := keyway.ReadHostKey(strings.NewReader(string(line)))
	if err != nil {
		t.Fatal(err)
	}
	if got := keyway.PublicHostKey(key.Public().(ed25519.PublicKey)); got != rec.HostKey {
		t.Errorf("the Record has %s, the key is %s", rec.HostKey, got)
	}
	said := `{"hostKey":"ssh-ed25519 EVIL","user":"root","uid":0,"home":"/root"}`
	if err := os.WriteFile(home.Info(), []byte(said), 0o644); err != nil {
		t.Fatal(err)
	}
	if info, err := Info(home); err != nil || info.HostKey != "" || info.User != "root" {
		t.Errorf("of what the workspace says, %+v is believed, %v", info, err)
	}
}

// noDevice is a device without a driver: opening it fails with ENXIO.
const noDevice = 240<<8 | 77

// traps returns the files that a workspace can put where the place looks for a file.
func traps(t *testing.T) map[string]func(path string) error {
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte(`{"user":"secret","home":"/"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(outside, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return map[string]func(string) error{
		"link to a file":      func(p string) error { return os.Symlink(secret, p) },
		"link to a directory": func(p string) error { return os.Symlink(outside, p) },
		"link to a socket":    func(p string) error { return os.Symlink(filepath.Join(outside, "sock"), p) },
		"link up":             func(p string) error { return os.Symlink("../../../../../../.."+secret, p) },
		"link to a device":    func(p string) error { return os.Symlink("/dev/zero", p) },
		"named pipe":          func(p string) error { return syscall.Mkfifo(p, 0o666) },
		"character device":    func(p string) error { return syscall.Mknod(p, syscall.S_IFCHR|0o666, noDevice) },
		"block device":        func(p string) error { return syscall.Mknod(p, syscall.S_IFBLK|0o666, noDevice) },
		"socket":              func(p string) error { return syscall.Mknod(p, syscall.S_IFSOCK|0o666, 0) },
		"directory":           func(p string) error { return os.Mkdir(p, 0o777) },
		"endless file":        func(p string) error { return endless(p) },
		"nothing":             func(string) error { return nil },
	}
}

// endless makes a file that is longer than the bound of any reader.
func endless(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(1<<40), f.Close())
}

// TestHostileHome puts each trap (a link, a pipe, a device, a socket, a directory, an endless file)
// at each path that the node reads in a Home. It checks that the node takes none for the expected
// file.
func TestHostileHome(t *testing.T) {
	looks := map[string]struct {
		path func(keyway.Home) string
		look func(keyway.Home) error // nil if it accepted the trap
	}{
		"guest.json": {keyway.Home.Info, func(h keyway.Home) error { _, err := Info(h); return err }},
		"guest.sock": {keyway.Home.Socket, func(h keyway.Home) error {
			conn, err := Dial(t.Context(), h)
			if err == nil {
				conn.Close()
			}
			return err
		}},
		"sessions": {keyway.Home.Sessions, func(h keyway.Home) error { return noSessions(Sessions(h.Data())) }},
		"a session": {func(h keyway.Home) string { return filepath.Join(h.Sessions(), "one") },
			func(h keyway.Home) error { return noSessions(Sessions(h.Data())) }},
		"a session's lock": {func(h keyway.Home) string { return filepath.Join(h.Sessions(), "one", "lock") },
			func(h keyway.Home) error { return noSessions(Sessions(h.Data())) }},
		"a lock": {func(h keyway.Home) string { return filepath.Join(string(h), "init.lock") }, func(h keyway.Home) error {
			root, err := os.OpenRoot(string(h))
			if err != nil {
				return err
			}
			defer root.Close()
			held, err := Held(root, "init.lock")
			if err == nil && !held {
				err = errors.New("not held")
			}
			return err
		}},
	}
	for what, l := range looks {
		for kind, set := range traps(t) {
			t.Run(what+" is a "+kind, func(t *testing.T) {
				home := keyway.Home(t.TempDir())
				path := l.path(home)
				if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
					t.Fatal(err)
				}
				if err := set(path); err != nil {
					t.Fatal(err)
				}
				err := l.look(home)
				if err == nil {
					t.Error("taken for the real one")
				}
				if errors.Is(err, syscall.ENXIO) {
					t.Errorf("it was opened: %v", err)
				}
			})
		}
	}
}

func noSessions(n int) error {
	if n > 0 {
		return nil
	}
	return fmt.Errorf("%d sessions", n)
}

// TestSessionsAreThoseOfTheData checks that a workspace that moves its data cannot make the node
// read another directory.
func TestSessionsAreThoseOfTheData(t *testing.T) {
	other := t.TempDir()
	if err := os.MkdirAll(filepath.Join(other, "living"), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(other, "living", "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := filelock.Try(f, filelock.Exclusive); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	if err := os.Symlink(other, filepath.Join(data, "sessions")); err != nil {
		t.Fatal(err)
	}
	if n := Sessions(data); n > 0 {
		t.Errorf("%d sessions of another directory", n)
	}
	if n := Sessions(""); n != -1 {
		t.Errorf("%d sessions without a directory", n)
	}
}

func TestSessions(t *testing.T) {
	home := keyway.Home(t.TempDir())
	if err := os.Mkdir(home.Data(), 0o700); err != nil {
		t.Fatal(err)
	}
	if n := Sessions(home.Data()); n != 0 {
		t.Errorf("%d sessions before there is a directory", n)
	}
	var locks []*os.File
	for _, name := range []string{"living", "ended"} {
		if err := os.MkdirAll(filepath.Join(home.Sessions(), name), 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(home.Sessions(), name, "lock"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		locks = append(locks, f)
	}
	for name, set := range traps(t) { // other files hide no session
		if err := set(filepath.Join(home.Sessions(), "trap "+name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := filelock.Try(locks[0], filelock.Exclusive); err != nil {
		t.Fatal(err)
	}
	if n := Sessions(home.Data()); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}
