//go:build unix && !linux

package hold

import "os"

// inMemory makes an empty unnamed file in the directory of temporary files: these systems have no
// files in memory.
func inMemory() (*os.File, error) {
	f, err := os.CreateTemp("", "keyway-spill")
	if err == nil {
		_ = os.Remove(f.Name())
	}
	return f, err
}
