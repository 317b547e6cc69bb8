package main

import (
	"os"
	"slices"
	"strings"

	"keyway/internal/keyway"
)

// sudoer is the user who ran this process as root by sudo(8); the zero value is nobody.
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

// refusal keeps root from writing into somebody's home directory, which sudo leaves as it
// was on some systems: the user could not use keyway there any more.
func (s sudoer) refusal() error {
	if !s.home {
		return nil
	}
	return keyway.Errorf(keyway.Usage, "sudo has keyway run as root in the home directory of %s, and what it writes there would be root's", s.name).
		Hint("type it without sudo: no root is needed")
}

// ofAnother are the kinds of errors that may have this cause: root has other keys, hosts and
// workspaces than the user.
var ofAnother = []keyway.Kind{keyway.NoKey, keyway.UnknownPlace, keyway.NotFound, keyway.Denied, keyway.HostKeyUnknown}

// advise adds to an error that its keys, hosts and workspaces are those of root.
func (s sudoer) advise(e *keyway.Error) *keyway.Error {
	if s.name == "" || e == nil || !slices.Contains(ofAnother, e.Kind) {
		return e
	}
	with := *e
	with.Next = strings.TrimPrefix(e.Next+"\nroot has other keys, hosts and workspaces than "+s.name+": try it without sudo", "\n")
	return &with
}
