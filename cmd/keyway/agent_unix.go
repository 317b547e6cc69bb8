//go:build unix

package main

import (
	"os"
	"os/exec"
	"syscall"
)

// endSignals end an agent; forgetSignal makes it forget its keys, as ssh-agent's.
var (
	endSignals             = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
	forgetSignal os.Signal = syscall.SIGUSR1
)

// detach makes cmd outlive the terminal.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
