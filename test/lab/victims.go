//go:build linux

package lab

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Sessions returns the processes of every connection to the host's sshd.
func (h *Host) Sessions() []int {
	var pids []int
	for _, pid := range h.Processes("sshd") {
		if !h.isListener(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Nodes returns the keyway nodes that run on the host.
func (h *Host) Nodes() []int {
	var pids []int
	for _, pid := range h.ProcessesThat(isKeyway) {
		if hasWords(pid, "node", "--stdio") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Links returns the host's keyway links.
func (h *Host) Links() []int {
	var pids []int
	for _, pid := range h.ProcessesThat(isKeyway) {
		if hasWords(pid, "link", "serve") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// SSHRuns returns the ssh processes by which the host's link reaches places. Those
// of a user are not among them.
func (h *Host) SSHRuns() []int {
	var pids []int
	for _, pid := range h.Processes("ssh") {
		if hasWords(parent(pid), "link", "serve") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// A node is named as its file, which is keyway and a hash.
func isKeyway(name string) bool { return strings.HasPrefix(name, "keyway") }

// hasWords reports whether these are the arguments of a process.
func hasWords(pid int, words ...string) bool {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	return err == nil && bytes.Contains(line, []byte("\x00"+strings.Join(words, "\x00")+"\x00"))
}
