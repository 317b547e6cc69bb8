package dirs

import (
	"io/fs"
	"os"
	"path/filepath"
)

func defaultConfig() (string, error) { return os.UserConfigDir() }

// defaultState returns %LocalAppData%, which, unlike %AppData%, stays on this machine.
func defaultState() (string, error) { return os.UserCacheDir() }

// checkHome refuses nothing: HOME has no meaning on Windows.
func checkHome() error { return nil }

func runtimeCandidates() []string {
	base, err := os.UserCacheDir()
	if err != nil {
		return nil
	}
	return []string{filepath.Join(base, name, "run")}
}

func machineDir() string { return filepath.Join(os.TempDir(), name) }

func stat(dir string) (fs.FileInfo, error) { return os.Stat(dir) }

// claim does nothing: files below a user's profile inherit an access list that admits the user,
// administrators and the system.
func claim(string, fs.FileInfo) error { return nil }
