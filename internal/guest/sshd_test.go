//go:build linux

package guest

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
)

// Two public keys.
var (
	keyA = keyway.PublicHostKey(bytes.Repeat([]byte("a"), 32))
	keyB = keyway.PublicHostKey(bytes.Repeat([]byte("b"), 32))
)

// TestNobodyIsGiven checks that a baked image without a key starts nothing.
func TestNobodyIsGiven(t *testing.T) {
	for what, c := range map[string]struct {
		env   string
		mount func(path string) error // nil: none
		names string                  // in the error
	}{
		"nothing":                  {names: "no public key may enter"},
		"no key":                   {env: "ada\n# ssh-ed25519\n", names: "no public key may enter"},
		"a key with a restriction": {env: `from="10.0.0.1" ` + keyA, names: "no public key may enter"},
		"an empty file":            {mount: func(p string) error { return os.WriteFile(p, nil, 0o644) }, names: "no public key may enter"},
		"a file of everybody's":    {env: keyB, mount: func(p string) error { return os.Chmod(p, 0o666) }, names: "written to by others"},
		"a directory":              {env: keyB, mount: func(p string) error { return os.Mkdir(p, 0o755) }, names: "not a regular file"},
		"a link":                   {env: keyB, mount: func(p string) error { return os.Symlink("/etc/passwd", p) }, names: "not a regular file"},
		"a named pipe":             {env: keyB, mount: func(p string) error { return unix.Mkfifo(p, 0o644) }, names: "not a regular file"},
		"too much": {mount: func(p string) error {
			return os.WriteFile(p, []byte(strings.Repeat(keyA+"\n", maxAuthorizedKeys/len(keyA))), 0o644)
		}, names: "longer than"},
	} {
		t.Run(what, func(t *testing.T) {
			home := keyway.Home(t.TempDir())
			t.Setenv(envKeys, c.env)
			path := filepath.Join(string(home), keysMount)
			if strings.Contains(what, "everybody") {
				if err := os.WriteFile(path, []byte(keyA+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if c.mount != nil {
				if err := c.mount(path); err != nil {
					t.Fatal(err)
				}
			}
			if keys, err := givenKeys(home); err == nil || !strings.Contains(err.Error(), c.names) {
				t.Errorf("%q, %v", keys, err)
			}
		})
	}
}

func TestGivenKeys(t *testing.T) {
	home := keyway.Home(t.TempDir())
	t.Setenv(envKeys, keyA)
	mount := filepath.Join(string(home), keysMount)
	if err := os.WriteFile(mount, []byte(keyB), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(mount, 4711, 4711); err != nil { // a user outside the container
		t.Fatal(err)
	}
	if keys, err := givenKeys(home); err != nil || string(keys) != keyA+"\n"+keyB {
		t.Errorf("%q, %v", keys, err)
	}
}

// TestOwnHostKey checks that the host key is made once, and that a key that others can read is not
// used.
func TestOwnHostKey(t *testing.T) {
	home := keyway.Home(t.TempDir())
	first, err := ownHostKey(home)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ownHostKey(home); err != nil || !again.Equal(first) {
		t.Errorf("the second time it is another: %v", err)
	}
	if other, err := ownHostKey(keyway.Home(t.TempDir())); err != nil || other.Equal(first) {
		t.Errorf("two containers have one: %v", err)
	}
	path := filepath.Join(home.Data(), ownKeyFile)
	for what, c := range map[string]func() error{
		"open to others":   func() error { return os.Chmod(path, 0o640) },
		"another user's":   func() error { return os.Chown(path, 4711, 4711) },
		"cut":              func() error { return os.Truncate(path, 30) },
		"longer":           func() error { return os.WriteFile(path, make([]byte, keyway.HostKeyLine+1), 0o600) },
		"a link elsewhere": func() error { return os.Rename(path, path+".real") },
	} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, keyway.MarshalHostKey(first), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c(); err != nil {
			t.Fatal(err)
		}
		if what == "a link elsewhere" {
			if err := os.Symlink(path+".real", path); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := ownHostKey(home); err == nil {
			t.Errorf("%s: it is used, or made again", what)
		}
	}
}
