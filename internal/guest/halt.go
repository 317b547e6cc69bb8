//go:build linux

package guest

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/filelock"
	"keyway/internal/keyway"
)

// haltMain makes the first process end the workspace, as a platform does when it stops one. It
// returns when no process holds the first process's lock any more. There is no other way to end a
// guest that runs beside the first process of an adopted container. If no workspace runs, it does
// nothing.
func haltMain(home keyway.Home, _ []string) int {
	path := string(home) + "/init.lock"
	lock, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	for told := false; err == nil; told = true {
		if err = filelock.Try(lock, filelock.Exclusive); err == nil {
			lock.Close()
			return 0
		}
		if !errors.Is(err, filelock.ErrLocked) {
			break
		}
		if err = nil; told {
			time.Sleep(stepPoll)
			continue
		}
		// The workspace's programs can write to this file, too. Pid 1, a container's own
		// first process, is never the guest's, and neither is a group of processes.
		var text []byte
		if text, err = readBounded(path, 32); err == nil {
			pid, bad := strconv.Atoi(strings.TrimSpace(string(text)))
			if err = unix.ESRCH; bad == nil && pid > 1 {
				err = unix.Kill(pid, unix.SIGTERM)
			}
		}
	}
	return fail(os.Stderr, err)
}
