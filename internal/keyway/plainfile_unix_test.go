//go:build unix

package keyway

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestReadPlainFile(t *testing.T) {
	dir := t.TempDir()
	pipe, file, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "file"), filepath.Join(dir, "link")
	for _, err := range []error{syscall.Mkfifo(pipe, 0o600), os.WriteFile(file, []byte("12345"), 0o600), os.Symlink(pipe, link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{pipe, link, dir, "/dev/zero", "/dev/null"} {
		if _, err := ReadPlainFile(path, 10); !errors.Is(err, ErrNoPlainFile) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if data, err := ReadPlainFile(file, 3); err != nil || string(data) != "123" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := ReadPlainFile(filepath.Join(dir, "absent"), 3); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}
