//go:build unix

package images

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"keyway/internal/keyway"
)

// TestANamedPipeIsNoImage checks that a command refuses a named pipe, and does not wait for its
// writer.
func TestANamedPipeIsNoImage(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "image.tar")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() { _, err := readArchive(pipe); read <- err }()
	select {
	case err := <-read:
		if !keyway.Is(err, keyway.Usage) || keyway.AsError(err).Next == "" {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it is waited for")
	}
}

// TestAFileIsPackedAsItsNameSays checks that a .tgz is compressed.
func TestAFileIsPackedAsItsNameSays(t *testing.T) {
	for name, packs := range map[string]bool{"a.tar": false, "a.tgz": true, "a.tar.gz": true, "dir/a": false} {
		var b bytes.Buffer
		w := packed(&b, name)
		_, err := io.WriteString(w, "image")
		if err == nil {
			err = w.Close()
		}
		text := b.String()
		zipped := strings.HasPrefix(text, "\x1f\x8b")
		if zipped {
			z, err := gzip.NewReader(&b)
			if err != nil {
				t.Fatal(err)
			}
			all, _ := io.ReadAll(z)
			text = string(all)
		}
		if err != nil || zipped != packs || text != "image" {
			t.Errorf("%s: compressed %t, %q, %v", name, zipped, text, err)
		}
	}
}

// TestWhereNoFileCanBe checks that a missing directory has an error of its own, with a next step.
func TestWhereNoFileCanBe(t *testing.T) {
	err := whole(t.Context(), filepath.Join(t.TempDir(), "none", "a.tar"), func(io.Writer, string) error { return nil })
	if !keyway.Is(err, keyway.Usage) || keyway.AsError(err).Next == "" {
		t.Error(err)
	}
}

// TestAFileOfSomebodyElse checks that, in a directory with the sticky bit, no file of another user
// is replaced.
func TestAFileOfSomebodyElse(t *testing.T) {
	err := full("/tmp/a.tar", &os.LinkError{Op: "rename", Old: "/tmp/.a.tar" + partMark + "1", New: "/tmp/a.tar", Err: syscall.EPERM})
	if !keyway.Is(err, keyway.Usage) || keyway.AsError(err).Next == "" || strings.Contains(err.Error(), partMark) {
		t.Error(err)
	}
}

// TestOneFileIsWrittenByMany checks that each writer finds the parts of the others locked until
// they have the file's name.
func TestOneFileIsWrittenByMany(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.tar")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				err := whole(t.Context(), file, func(w io.Writer, _ string) error {
					_, err := io.WriteString(w, "image")
					return err
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}
