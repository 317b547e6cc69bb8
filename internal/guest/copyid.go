//go:build linux

package guest

import (
	"errors"
	"strings"
)

// errCopyID refuses ssh-copy-id, which would otherwise report success without effect: the
// guest does not read ~/.ssh/authorized_keys, because that may come with the image.
var errCopyID = errors.New("ssh-copy-id does nothing here: your keys enter by themselves, see keyway unlock")

// isCopyID reports whether command is the one that ssh-copy-id runs. It matches nothing
// else: a program that writes the file for an sshd of the image must still work.
func isCopyID(command string) bool {
	return strings.HasPrefix(command, "exec sh -c '") && strings.Contains(command, "cat >> ") && strings.Contains(command, ".ssh/authorized_keys")
}
