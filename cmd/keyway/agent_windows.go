package main

import (
	"os"
	"os/exec"
	"syscall"
)

var (
	endSignals   = []os.Signal{os.Interrupt}
	forgetSignal os.Signal
)

// detachedProcess is DETACHED_PROCESS of CreateProcess: without a console.
const detachedProcess = 0x00000008

func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: detachedProcess} }
