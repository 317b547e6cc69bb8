//go:build unix && !linux

package hold

import "os"

// inMemory makes an empty file without a name where temporary files are: these systems
// have none that is on no disk.
func inMemory() (*os.File, error) {
	f, err := os.CreateTemp("", "keyway-spill")
	if err == nil {
		_ = os.Remove(f.Name())
	}
	return f, err
}
