package node

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

const guestText = "a guest"

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func packed(text string) io.Reader {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	io.WriteString(z, text)
	z.Close()
	return &out
}

func wantGuest(t *testing.T, root string) string {
	t.Helper()
	hash := hashOf(guestText)
	g, err := InstallGuest(root, packed(guestText), hash, "")
	if err != nil || g.Dir != filepath.Join(root, "guests", hash) {
		t.Fatalf("%+v, %v", g, err)
	}
	entries, err := os.ReadDir(g.Dir)
	if err != nil || len(entries) != len(keyway.GuestLinks())+1 {
		t.Errorf("there are %v, %v", entries, err)
	}
	for _, name := range append(keyway.GuestLinks(), keyway.GuestProgram) {
		if text, err := os.ReadFile(filepath.Join(g.Dir, name)); err != nil || string(text) != guestText {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	for _, path := range []string{g.Dir, filepath.Join(g.Dir, keyway.GuestProgram)} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
	return g.Dir
}

func TestInstallGuest(t *testing.T) {
	root := t.TempDir()
	for range 2 { // the second time it is there
		wantGuest(t, root)
	}
	if left, _ := os.ReadDir(filepath.Join(root, "guests")); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	// A dynamically linked program may not run in an image with another libc.
	if _, err := InstallGuest(root, nil, "", "/bin/sh"); !keyway.Is(err, keyway.GuestFailed) || !strings.Contains(keyway.AsError(err).Next, "make build") {
		t.Errorf("got %v", err)
	}
}

// TestDamagedGuestIsRefused checks that a carried program is used only if it has its hash.
func TestDamagedGuestIsRefused(t *testing.T) {
	cut := new(bytes.Buffer)
	io.CopyN(cut, packed(guestText), 20)
	for what, in := range map[string]io.Reader{
		"no gzip": strings.NewReader("no gzip"), "another program": packed("another"), "a longer one": packed(guestText + "!"), "nothing": packed(""), "a part": cut,
	} {
		root := t.TempDir()
		if _, err := InstallGuest(root, in, hashOf(guestText), ""); err == nil {
			t.Errorf("%s was installed", what)
		}
		if left, _ := os.ReadDir(filepath.Join(root, "guests")); len(left) != 0 {
			t.Errorf("%s left %v", what, left)
		}
	}
}

// TestChangedGuestIsReplaced checks that an installed program is used only if it is unchanged.
func TestChangedGuestIsReplaced(t *testing.T) {
	program := func(dir string) string { return filepath.Join(dir, keyway.GuestProgram) }
	for what, change := range map[string]func(dir string) error{
		"another program":      func(dir string) error { return os.WriteFile(program(dir), []byte("evil"), 0o755) },
		"one byte more":        func(dir string) error { return os.WriteFile(program(dir), []byte(guestText+"!"), 0o755) },
		"no program":           func(dir string) error { return os.Remove(program(dir)) },
		"an open program":      func(dir string) error { return os.Chmod(program(dir), 0o777) },
		"an open directory":    func(dir string) error { return os.Chmod(dir, 0o777) },
		"a program on PATH":    func(dir string) error { return os.WriteFile(filepath.Join(dir, "python"), []byte("evil"), 0o755) },
		"a name missing":       func(dir string) error { return os.Remove(filepath.Join(dir, keyway.GuestLinks()[0])) },
		"another name's aim":   func(dir string) error { return relink("/tmp/evil", filepath.Join(dir, keyway.GuestLinks()[1])) },
		"a link to a program":  func(dir string) error { return relink("/bin/sh", program(dir)) },
		"a directory as such":  func(dir string) error { return errors.Join(os.Remove(program(dir)), os.Mkdir(program(dir), 0o755)) },
		"nothing at all in it": func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)) },
		"a link to another": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".away"), os.Symlink(dir+".away", dir))
		},
	} {
		t.Run(what, func(t *testing.T) {
			root := t.TempDir()
			if err := change(wantGuest(t, root)); err != nil {
				t.Fatal(err)
			}
			wantGuest(t, root)
		})
	}
}

func relink(target, path string) error { return errors.Join(os.Remove(path), os.Symlink(target, path)) }
