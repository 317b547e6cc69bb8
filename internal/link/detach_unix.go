//go:build unix

package link

import (
	"os/exec"
	"syscall"
)

// detach runs cmd in a process session of its own: no terminal's Ctrl-C or hang-up reaches it, and
// an ssh without a terminal asks through SSH_ASKPASS.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
}

// endSession sends SIGTERM to the remaining processes of cmd's process session: a killed ssh leaves
// the processes for its jump hosts behind, which would wait for the network for as long as TCP
// does.
func endSession(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
}
