package filelock

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestTry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	reader := open()
	if err := Try(reader, false); err != nil {
		t.Fatal(err)
	}
	if err := Try(open(), false); err != nil {
		t.Errorf("a second reader: %v", err)
	}
	if err := Try(open(), true); !errors.Is(err, ErrLocked) {
		t.Errorf("alone beside readers: %v", err)
	}
	other := filepath.Join(t.TempDir(), "other")
	unlock, err := Lock(other)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(other)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Try(f, false); !errors.Is(err, ErrLocked) {
		t.Errorf("beside one that is alone: %v", err)
	}
	unlock()
	if err := Try(f, true); err != nil {
		t.Errorf("after that one: %v", err)
	}
}
