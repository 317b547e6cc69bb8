package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"keyway/internal/sftp"
	"keyway/internal/sftp/client"
)

// connect returns a client of our own server, for the machine's files.
func connect(t *testing.T, limit int64) *client.Client {
	t.Helper()
	here, there := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- sftp.Serve(context.Background(), there, sftp.Config{}) }()
	t.Cleanup(func() {
		here.Close()
		<-ended
	})
	c, err := client.New(here, limit)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestIsAFileSystem checks a directory of a real server with testing/fstest.
func TestIsAFileSystem(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a": "one", "d/b": strings.Repeat("x", 300_000), "d/e/c": ""} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sub, err := fs.Sub(connect(t, 64<<20), strings.TrimPrefix(dir, "/"))
	if err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"a": 3, "d/b": 300_000, "d/e/c": 0} {
		if data, err := fs.ReadFile(sub, name); err != nil || len(data) != size {
			t.Errorf("%s has %d bytes, %v", name, len(data), err)
		}
	}
	var seen []string
	err = fs.WalkDir(sub, ".", func(path string, _ fs.DirEntry, err error) error {
		seen = append(seen, path)
		return err
	})
	if got := strings.Join(seen, " "); err != nil || got != ". a d d/b d/e d/e/c" {
		t.Errorf("a walk sees %s, %v", got, err)
	}
	if _, err := fs.ReadFile(sub, "absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent file: %v", err)
	}
	c := connect(t, 1<<20)
	if err := os.Symlink("d/b", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if target, err := c.LinkTarget(strings.TrimPrefix(dir, "/") + "/link"); err != nil || target != "d/b" {
		t.Errorf("a symbolic link leads to %q, %v", target, err)
	}
	for name, want := range map[string]error{"a": nil, "absent": fs.ErrNotExist, "../link": fs.ErrInvalid} {
		if target, err := c.LinkTarget(strings.TrimPrefix(dir, "/") + "/" + name); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s leads to %q, %v", name, target, err)
		}
	}
	if _, err := fs.Stat(sub, "../a"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a path out of the root: %v", err)
	}
}

// TestTheServerIsBounded checks that the total of a server's answers is bounded.
func TestTheServerIsBounded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	c := connect(t, 256<<10)
	for range 2 {
		if data, err := fs.ReadFile(c, file[1:]); err == nil || len(data) > 256<<10 {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
	}
}

// talk is a server that has sent all its answers before the requests.
type talk struct {
	io.Reader
	io.Writer
}

// FuzzServer checks that arbitrary answers of a server cause at most an error, in bounded memory.
func FuzzServer(f *testing.F) {
	version := "\x00\x00\x00\x05\x02\x00\x00\x00\x03"
	f.Add([]byte(version + "\x00\x00\x00\x09\x65\x00\x00\x00\x01\x00\x00\x00\x02"))
	f.Add([]byte(version + "\x00\x00\x00\x0a\x66\x00\x00\x00\x01\x00\x00\x00\x01h\x00\x00\x00\x09\x68\x00\x00\x00\x02\x00\x00\x00\x00"))
	f.Add([]byte(version + "\x00\x00\x00\x09\x69\x00\x00\x00\x01\x80\x00\x00\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, said []byte) {
		c, err := client.New(talk{bytes.NewReader(said), io.Discard}, 1<<20)
		if err != nil {
			return
		}
		_ = fstest.TestFS(c)
		entries, _ := fs.ReadDir(c, "etc")
		for _, e := range entries {
			if !fs.ValidPath(e.Name()) || strings.Contains(e.Name(), "/") {
				t.Errorf("%q is a name", e.Name())
			}
		}
		_, _ = fs.ReadFile(c, "etc/passwd")
		_, _ = fs.Stat(c, "etc")
		_, _ = c.LinkTarget("etc")
	})
}
