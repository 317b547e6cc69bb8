package agentd

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOwnedByRoot(t *testing.T) {
	if err := ownedByRoot("/bin/sh"); err != nil {
		t.Error(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "program")
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := ownedByRoot(path); err == nil {
		t.Error("anybody can replace it")
	}
	if err := ownedByRoot(filepath.Join(dir, "none")); err == nil {
		t.Error("there is nothing")
	}
}
