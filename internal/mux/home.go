//go:build linux

package mux

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"keyway/internal/filelock"
	"keyway/internal/keyway"
)

const (
	homePrefix = "mux-" // begins the names of the directories, which end with a pid
	lockName   = "mux.lock"
)

// Home makes this process the user's mux: it works in a directory of its own below runtime, to
// which link points from now on. The link points through the process (/proc/PID/cwd): when the
// process is dead, the path of a socket below it does not exist, and ssh silently connects by
// itself. Home returns "" if another mux of this build serves, which has then been asked to hold
// the workspace ready. start is called with the directory before the link points there. The caller
// removes the directory.
func Home(runtime, link, identity string, name keyway.Name, start func(dir string) error) (dir string, err error) {
	unlock, err := filelock.Lock(filepath.Join(runtime, lockName))
	if err != nil {
		return "", err
	}
	defer unlock()
	if Ask(link, identity, name) {
		return "", nil
	}
	sweep(runtime)
	dir = filepath.Join(runtime, homePrefix+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	if err := os.Chdir(dir); err != nil {
		return "", err
	}
	if err := start(dir); err != nil {
		os.RemoveAll(dir)
		return "", err
	}
	next := link + ".next"
	_ = os.Remove(next)
	if err := os.Symlink(cwdOf(os.Getpid()), next); err != nil {
		return "", err
	}
	return dir, os.Rename(next, link)
}

func cwdOf(pid int) string { return fmt.Sprintf("/proc/%d/cwd", pid) }

// sweep removes directories of muxes that have ended.
func sweep(runtime string) {
	dirs, _ := filepath.Glob(filepath.Join(runtime, homePrefix+"*"))
	for _, dir := range dirs {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), homePrefix))
		if err == nil && !isMux(runtime, pid) {
			os.RemoveAll(dir)
		}
	}
}

// current returns the process that the link points to; 0 if it is not a mux.
func current(runtime, link string) int {
	target, err := os.Readlink(link)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(target, "/proc/"), "/cwd"))
	if err != nil || !isMux(runtime, pid) {
		return 0
	}
	return pid
}

// isMux reports whether a process works in the directory of a mux with its pid.
func isMux(runtime string, pid int) bool {
	if pid <= 1 {
		return false
	}
	at, err := os.Readlink(cwdOf(pid))
	return err == nil && at == filepath.Join(runtime, homePrefix+strconv.Itoa(pid))
}
