package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// isOpenSSH reports whether a process called ssh made the socket f.
func isOpenSSH(f *os.File) bool {
	peer, err := unix.GetsockoptUcred(int(f.Fd()), unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return false
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", peer.Pid))
	return err == nil && strings.TrimSuffix(string(name), "\n") == "ssh"
}
