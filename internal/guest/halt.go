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

// haltMain has the first process end the workspace as a platform would that stops it, and
// returns when that has been done: when nobody holds the first process's lock. A guest
// beside the first process of somebody else's container is nobody's to stop but by this.
// No workspace that runs is none to end.
func haltMain(home keyway.Home, _ []string) int {
	path := string(home) + "/init.lock"
	lock, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	for told := false; err == nil; told = true {
		if err = filelock.Try(lock, true); err == nil {
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
		// The workspace's programs can write there, too. A container's own first process
		// is never the guest's, and no group of processes is.
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
