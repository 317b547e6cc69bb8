package open

import (
	"os/exec"
	"syscall"
)

// detach keeps the console's Ctrl-C from cmd.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
