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
	if err := Try(reader, Shared); err != nil {
		t.Fatal(err)
	}
	if err := Try(open(), Shared); err != nil {
		t.Errorf("a second reader: %v", err)
	}
	if err := Try(open(), Exclusive); !errors.Is(err, ErrLocked) {
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
	if err := Try(f, Shared); !errors.Is(err, ErrLocked) {
		t.Errorf("beside one that is alone: %v", err)
	}
	unlock()
	if err := Try(f, Exclusive); err != nil {
		t.Errorf("after that one: %v", err)
	}
}

func TestRepeated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	one, two := Repeated{Path: path}, Repeated{Path: path}
	defer one.Close()
	defer two.Close()
	free := func() bool {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return Try(f, Exclusive) == nil
	}
	for range 3 {
		for _, r := range []*Repeated{&one, &two} {
			if err := r.Lock(); err != nil {
				t.Fatal(err)
			}
			if free() {
				t.Error("another process gets a lock that is held")
			}
			r.Unlock()
			if !free() {
				t.Error("a lock that was given back is held")
			}
		}
	}
}

// TestRepeatedLocksTheFileAtThePath checks that replacing the file of a lock does not create a
// second lock.
func TestRepeatedLocksTheFileAtThePath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	r := Repeated{Path: path}
	defer r.Close()
	for name, change := range map[string]func() error{
		"removed":  func() error { return os.Remove(path) },
		"replaced": func() error { return errors.Join(os.Rename(path, path+".old"), os.WriteFile(path, nil, 0o600)) },
	} {
		if err := r.Lock(); err != nil {
			t.Fatal(err)
		}
		r.Unlock()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if err := r.Lock(); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := Try(f, Exclusive); !errors.Is(err, ErrLocked) {
			t.Errorf("%s: another process gets the lock, too: %v", name, err)
		}
		f.Close()
		r.Unlock()
	}
	r.Path = filepath.Join(path, "below")
	if err := errors.Join(r.Close(), r.Lock()); err == nil {
		t.Error("a lock without a file")
	}
}
