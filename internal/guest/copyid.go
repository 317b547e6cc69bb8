//go:build linux

package guest

import (
	"errors"
	"strings"
)

// errCopyID is the answer to ssh-copy-id, which would say that it has worked: the
// guest does not read ~/.ssh/authorized_keys, which may come with the image.
var errCopyID = errors.New("ssh-copy-id does nothing here: your keys enter by themselves, see keyway unlock")

// isCopyID reports whether command is what ssh-copy-id runs. Nothing else is taken for
// it: what writes the file for an sshd of the image must go on doing so.
func isCopyID(command string) bool {
	return strings.HasPrefix(command, "exec sh -c '") && strings.Contains(command, "cat >> ") && strings.Contains(command, ".ssh/authorized_keys")
}
