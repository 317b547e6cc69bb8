package link

import (
	"os/exec"
	"syscall"
)

// detachedProcess is DETACHED_PROCESS of the CreateProcess function: no console.
const detachedProcess = 0x00000008

// detach starts cmd without this process's console, so that closing the window or Ctrl-C does not
// reach it.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: detachedProcess | syscall.CREATE_NEW_PROCESS_GROUP}
}

// endSession does nothing: Windows has no process sessions.
func endSession(*exec.Cmd) {}
