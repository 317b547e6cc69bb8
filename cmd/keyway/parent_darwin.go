package main

import (
	"bytes"
	"os"

	"golang.org/x/sys/unix"
)

// parentName returns the name of the parent process.
func parentName() string {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", os.Getppid())
	if err != nil {
		return ""
	}
	name, _, _ := bytes.Cut(info.Proc.P_comm[:], []byte{0})
	return string(name)
}

func parentErrors() *os.File { return nil }
