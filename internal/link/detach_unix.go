//go:build unix

package link

import (
	"os/exec"
	"syscall"
)

// detach gives cmd a session of its own: no terminal's Ctrl-C or hang-up
// reaches it, and an ssh without a terminal asks through SSH_ASKPASS.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
}
