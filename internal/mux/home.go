//go:build linux

package mux

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/filelock"
	"keyway/internal/keyway"
	"keyway/internal/proctree"
)

const (
	homePrefix = "mux-" // of the directories, which end with a pid
	lockName   = "mux.lock"
)

// Home makes this process the user's mux: it works in a directory of its own below
// runtime, to which link leads from now on. The link leads through the process
// (/proc/PID/cwd): when that is dead, the path of a socket below it is not there, and
// ssh connects by itself without a word. It returns "" if another mux of this
// build serves, which has then been asked to hold the workspace ready. start is
// called with the directory before anybody is led there; the caller removes it.
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
		if err != nil {
			continue
		}
		if at, err := os.Readlink(cwdOf(pid)); err != nil || at != dir {
			os.RemoveAll(dir)
		}
	}
}

// guardPause is how often Guard looks.
const guardPause = time.Second

// Guard kills a mux that is stopped, until ctx ends: an ssh that has reached its
// socket waits for its greeting, beyond its ConnectTimeout.
func Guard(ctx context.Context, runtime, link string) {
	tick := time.NewTicker(guardPause)
	defer tick.Stop()
	stopped := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		pid := current(runtime, link)
		switch {
		case pid == 0 || !isStopped(pid):
			stopped = 0
		case stopped == pid: // for a second time
			_ = unix.Kill(pid, unix.SIGKILL)
			stopped = 0
		default:
			stopped = pid
		}
	}
}

// current is the process that the link leads to; 0 if it is not a mux.
func current(runtime, link string) int {
	target, err := os.Readlink(link)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(target, "/proc/"), "/cwd"))
	if err != nil || pid <= 1 {
		return 0
	}
	at, err := os.Readlink(cwdOf(pid))
	if err != nil || at != filepath.Join(runtime, homePrefix+strconv.Itoa(pid)) {
		return 0
	}
	return pid
}

// isStopped reports whether a process is stopped by a signal or a debugger.
func isStopped(pid int) bool {
	p, err := proctree.Read(pid)
	return err == nil && (p.Stopped || p.Traced)
}
