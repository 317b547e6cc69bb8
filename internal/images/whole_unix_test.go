//go:build unix

package images

import (
	"io"
	"path/filepath"
	"sync"
	"testing"
)

// TestOneFileIsWrittenByMany has each of them find the parts of the others locked until
// these have the file's name.
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
