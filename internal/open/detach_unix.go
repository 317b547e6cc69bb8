//go:build unix

package open

import (
	"os/exec"
	"syscall"
)

// detach keeps the terminal's Ctrl-C and hang-up from cmd.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
