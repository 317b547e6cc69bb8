package main

import (
	"os"
	"slices"
	"strings"

	"keyway/internal/keyway"
)

// sudoer is the user who ran this process as root through sudo(8). The zero value means that no
// user did.
type sudoer struct {
	name string
	home bool // the home directory is not root's
}

func whoSudoIs() sudoer {
	name := os.Getenv("SUDO_USER")
	if os.Geteuid() != 0 || name == "" || name == "root" {
		return sudoer{}
	}
	home, err := os.UserHomeDir()
	return sudoer{name: name, home: err == nil && isAnothers(home)}
}

// refusal returns an error that keeps root from writing into another user's home directory, where
// that user could no longer use keyway. Some systems' sudo keeps HOME.
func (s sudoer) refusal() error {
	if !s.home {
		return nil
	}
	return keyway.Errorf(keyway.Usage, "sudo has keyway run as root in the home directory of %s, and what it writes there would be root's", s.name).
		Hint("type it without sudo: no root is needed")
}

// ofAnother lists the kinds of errors that running as root can cause: root has other keys, hosts
// and workspaces than the user.
var ofAnother = []keyway.Kind{keyway.NoKey, keyway.UnknownPlace, keyway.NotFound, keyway.Denied, keyway.HostKeyUnknown}

// advise adds a note to an error that root's keys, hosts and workspaces are in use.
func (s sudoer) advise(e *keyway.Error) *keyway.Error {
	if s.name == "" || e == nil || !slices.Contains(ofAnother, e.Kind) {
		return e
	}
	with := *e
	with.Next = strings.TrimPrefix(e.Next+"\nroot has other keys, hosts and workspaces than "+s.name+": try it without sudo", "\n")
	return &with
}
