package installed

import (
	"os"
	"testing"
)

// makePipe makes a directory: a file system of Windows has no pipes in it.
func makePipe(t *testing.T, name string) {
	t.Helper()
	if err := os.Mkdir(name, 0o755); err != nil {
		t.Fatal(err)
	}
}
