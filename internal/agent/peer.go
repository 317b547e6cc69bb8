package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// peer is the local process at the other end of a connection, as far as the
// system tells.
type peer struct {
	pid   int
	uid   int
	known bool
}

// mayConnect says why a user may not ask the agent of another; nil: they are the same,
// or it is root, who has the agent anyway.
func mayConnect(uid, me int) error {
	if uid != 0 && uid != me {
		return fmt.Errorf("user %d is not user %d, whose agent this is", uid, me)
	}
	return nil
}

// program is the peer's program, for the log. It may have gone since, and is no
// fact that anything is decided by.
func (p peer) program() string {
	if !p.known || p.pid <= 0 {
		return ""
	}
	path, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(p.pid), "exe"))
	if err != nil {
		return ""
	}
	return path
}
