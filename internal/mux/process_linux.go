package mux

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxCommandLine bounds in bytes what is read of a command line: scp and rsync name
// many files there.
const maxCommandLine = 4 << 20

// commandLine is the command line of a process.
func commandLine(pid int) ([]string, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCommandLine+1))
	if err != nil || len(data) == 0 || len(data) > maxCommandLine {
		return nil, fmt.Errorf("process %d has no command line: %w", pid, err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00"), nil
}

// mayRead reports whether a process may read now from a terminal that it has open as
// fd: from its own only in the foreground. The kernel would stop it otherwise, and
// the mux, which reads in its place, is not in its process group.
func mayRead(pid, fd int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false // it has gone
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 6 {
		return false
	}
	group, foreground := fields[2], fields[5] // proc_pid_stat(5): pgrp, tpgid
	controlling, err := strconv.Atoi(fields[4])
	if err != nil {
		return false
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return false
	}
	minor := uint32(controlling)&0xff | uint32(controlling)>>12&0xfff00
	own := unix.Mkdev(uint32(controlling)>>8&0xfff, minor)
	if st.Rdev != own && st.Rdev != unix.Mkdev(5, 0) { // 5, 0: /dev/tty
		return true
	}
	return group == foreground
}
