//go:build unix

package sshconfig

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keyway/internal/keyway"
)

func TestNamedPipeIsRefused(t *testing.T) {
	home, include := homeWith(t, "")
	path := filepath.Join(home, ".ssh", "config")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := PlanInclude(home, include)
	if e := wantKind(t, err, keyway.BadConfig); !strings.Contains(e.Message, "regular") {
		t.Error(e)
	}
}

func TestForeignFileIsRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a file away")
	}
	home, include := homeWith(t, "")
	if err := os.Chown(filepath.Join(home, ".ssh", "config"), 12345, -1); err != nil {
		t.Fatal(err)
	}
	_, err := PlanInclude(home, include)
	if e := wantKind(t, err, keyway.BadConfig); !strings.Contains(e.Message, "12345") {
		t.Error(e)
	}
}

// TestUnreadableAndReadOnly checks a configuration that the user cannot read or rewrite. It runs as a
// user without powers, in a child process: root may read and write everything.
func TestUnreadableAndReadOnly(t *testing.T) {
	if os.Getuid() == 0 {
		asNobody(t)
		return
	}
	home, include := homeWith(t, "Host a\n")
	path := filepath.Join(home, ".ssh", "config")
	for mode, word := range map[os.FileMode]string{0o000: "cannot be read", 0o400: "cannot be rewritten"} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := PlanInclude(home, include)
		if e := wantKind(t, err, keyway.BadConfig); !strings.Contains(e.Message, word) {
			t.Errorf("%o: %s", mode, e)
		}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(path), 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Dir(path), 0o700)
	_, err := PlanInclude(home, include)
	wantKind(t, err, keyway.BadConfig)
}
