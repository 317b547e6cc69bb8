//go:build unix

package dirs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
)

func defaultConfig() (string, error) { return inHome(".config") }

func defaultState() (string, error) { return inHome(".local", "state") }

func inHome(elem ...string) (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(append([]string{home}, elem...)...), nil
}

// checkHome refuses a HOME that is another directory for each command: with it go the
// configuration of ssh, the keys and all that keyway remembers.
func checkHome() error {
	if home := os.Getenv("HOME"); home != "" && !filepath.IsAbs(home) {
		return keyway.Errorf(keyway.BadConfig, "HOME is %.80q, which is another directory wherever a command runs", home).
			Hint("set it to the whole path of your home directory: export HOME=/home/NAME")
	}
	return nil
}

// runtimeCandidates returns the directories that Runtime tries, best first. One whose base does not
// exist or belongs to another user (su keeps the caller's XDG_RUNTIME_DIR) is left out: making the
// base would be wrong.
func runtimeCandidates() []string {
	uid := strconv.Itoa(os.Getuid())
	var dirs []string
	for _, base := range []string{os.Getenv("XDG_RUNTIME_DIR"), "/run/user/" + uid} {
		if filepath.IsAbs(base) && ours(base) {
			dirs = append(dirs, filepath.Join(base, name))
		}
	}
	return append(dirs, filepath.Join("/tmp", name+"-"+uid))
}

func machineDir() string { return filepath.Join("/var/tmp", name+"-"+strconv.Itoa(os.Getuid())) }

func ours(dir string) bool {
	st, err := os.Stat(dir)
	return err == nil && st.IsDir() && owner(st) == os.Getuid() && unix.Access(dir, unix.W_OK|unix.X_OK) == nil
}

func owner(st fs.FileInfo) int {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return int(sys.Uid)
	}
	return -1
}

// stat does not follow a link in a directory with the sticky bit, where any user may have put it.
func stat(dir string) (fs.FileInfo, error) {
	parent, err := os.Stat(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	if parent.Mode()&fs.ModeSticky != 0 {
		return os.Lstat(dir)
	}
	return os.Stat(dir)
}

// claim refuses a directory of another user and closes ours to others.
func claim(dir string, st fs.FileInfo) error {
	if uid := owner(st); uid != os.Getuid() {
		return &fs.PathError{Op: "use", Path: dir, Err: fmt.Errorf("it belongs to user %d, not to you (%d)", uid, os.Getuid())}
	}
	if st.Mode().Perm() == private {
		return nil
	}
	return os.Chmod(dir, private)
}
