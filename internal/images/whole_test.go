package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"keyway/internal/keyway"
)

// broken reads a few bytes and then fails.
type broken struct {
	io.Reader
	then func() error
}

func (b broken) Read(p []byte) (int, error) {
	if n, err := b.Reader.Read(p); err == nil {
		return n, nil
	}
	return 0, b.then()
}

// cutting is a place that sends a part of an image.
type cutting struct {
	engine
	then func() error
}

func (c *cutting) ExportImage(ctx context.Context, engine, image string, without int) (io.ReadCloser, error) {
	all, err := c.engine.ExportImage(ctx, engine, image, without)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(broken{io.LimitReader(all, 512), c.then}), nil
}

// TestACutImageHasACause interrupts a save and a copy of an image. It checks that the error blames
// the place, unless the user has interrupted the command.
func TestACutImageHasACause(t *testing.T) {
	base := aBase(t)
	file := filepath.Join(t.TempDir(), "im.tar")
	for what, bring := range map[string]func(ctx context.Context, from Places) error{
		"a file": func(ctx context.Context, from Places) error {
			_, err := Save(ctx, from, ImageCopy{From: "gpu1", Image: "team/model:1"}, file, nothing)
			return err
		},
		"a copy": func(ctx context.Context, from Places) error {
			c := ImageCopy{Image: "team/model:1", From: "gpu1", To: "gpu2", Replace: func(keyway.Place, string, keyway.ImageLayers) error { return nil }}
			_, err := Copy(ctx, from, c, nothing)
			return err
		},
	} {
		at := func(then func() error) Places {
			to := engine{base: aBase(t)}
			return places{"gpu1": clientOf(t, &cutting{engine{base: base}, then}), "gpu2": to.client(t)}
		}
		if err := bring(t.Context(), at(func() error { return errors.New("its disk is bad") })); !keyway.Is(err, keyway.Unreachable) {
			t.Errorf("%s, and the place breaks off: %v", what, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if err := bring(ctx, at(func() error { cancel(); <-ctx.Done(); return errors.New("nobody wants it") })); !errors.Is(err, context.Canceled) || keyway.Is(err, keyway.Unreachable) {
			t.Errorf("%s, and Ctrl-C: %v", what, err)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "im.tar", Err: syscall.ENOSPC}
}

// TestAFullDiskHereIsNoPlacesFault checks that failures of this machine are distinguished from
// those of a place.
func TestAFullDiskHereIsNoPlacesFault(t *testing.T) {
	_, err := io.Copy(here{fullDisk{}}, broken{then: func() error { return io.EOF }, Reader: io.LimitReader(zeros{}, 100)})
	if err := full("im.tar", cut("gpu1", errors.Join(err, nil))); !keyway.Is(err, keyway.NoSpace) || keyway.AsError(err).Next == "" {
		t.Errorf("got %v", err)
	}
	if err := cut("gpu1", fmt.Errorf("x: %w", io.ErrUnexpectedEOF)); !keyway.Is(err, keyway.Unreachable) {
		t.Errorf("got %v", err)
	}
	if err := cut("gpu1", nil); err != nil {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestPartsOfKilledKeywaysAreRemoved checks that parts of killed commands are removed, and that
// parts in use and those of other files stay.
func TestPartsOfKilledKeywaysAreRemoved(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "c.tar")
	left := filepath.Join(dir, ".c.tar"+partMark+"1")
	others := []string{".c.tar.123", ".d.tar" + partMark + "1", "c.tar" + partMark + "1"}
	for _, name := range append(others, filepath.Base(left)) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	save := func(text string, meanwhile func()) error {
		return whole(t.Context(), file, func(w io.Writer, part string) error {
			meanwhile()
			_, err := io.WriteString(w, text)
			return err
		})
	}
	var first, second error
	first = save("first", func() {
		if _, err := os.Stat(left); err == nil && runtime.GOOS != "windows" {
			t.Errorf("%s is still there", left)
		}
		second = save("second", func() {})
	})
	if text, err := os.ReadFile(file); first != nil || second != nil || err != nil || string(text) != "first" {
		t.Errorf("%q, %v, %v, %v", text, first, second, err)
	}
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := append(others, "c.tar")
	slices.Sort(want)
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("there are %q, want %q, %v", names, want, err)
	}
}
