//go:build linux

package session

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// process is what /proc/PID/stat says of a process.
type process struct {
	pid, parent int
	session     int
	terminal    uint64 // the controlling one's device, as proc(5) has it; 0: none
	zombie      bool
	start       string // in clock ticks since boot
}

func readProcess(pid int) (process, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	return parseStat(string(data))
}

// parseStat reads a stat line. The command's name, in parentheses, may itself
// hold blanks and parentheses.
func parseStat(s string) (process, error) {
	head, _, ok := strings.Cut(s, " (")
	tail := s[strings.LastIndexByte(s, ')')+1:]
	f := strings.Fields(tail)
	if !ok || len(f) < 20 {
		return process{}, errors.New("not a stat line")
	}
	pid, err1 := strconv.Atoi(head)
	parent, err2 := strconv.Atoi(f[1])
	session, err3 := strconv.Atoi(f[3])
	terminal, err4 := strconv.ParseUint(f[4], 10, 64)
	p := process{terminal: terminal, pid: pid, parent: parent, session: session, zombie: f[0] == "Z" || f[0] == "X", start: f[19]}
	return p, errors.Join(err1, err2, err3, err4)
}

func allProcesses() []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, err := readProcess(pid); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// descendants are the living processes that root started, directly or not. A
// holder among them belongs to another session, so it and what it started do
// not count. root is a subreaper: what loses its parent becomes root's own child
// and is still found.
func descendants(root int) []int {
	children := map[int][]int{}
	for _, p := range allProcesses() {
		if !p.zombie {
			children[p.parent] = append(children[p.parent], p.pid)
		}
	}
	var found []int
	for queue := children[root]; len(queue) > 0; queue = queue[1:] {
		if pid := queue[0]; !isHolder(pid) {
			found = append(found, pid)
			queue = append(queue, children[pid]...)
		}
	}
	return found
}

// holderWord is the guest program's argument that makes it a holder.
const holderWord = "holder"

func isHolder(pid int) bool {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	program, err := os.Readlink(filepath.Join(dir, "exe"))
	if self, selfErr := os.Readlink("/proc/self/exe"); err != nil || selfErr != nil || program != self {
		return false
	}
	line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	words := strings.SplitN(string(line), "\x00", 3)
	return err == nil && len(words) == 3 && words[1] == holderWord
}

// sessionMembers are the living processes of a kernel session.
func sessionMembers(sid int) []int {
	var found []int
	for _, p := range allProcesses() {
		if p.session == sid && !p.zombie {
			found = append(found, p.pid)
		}
	}
	return found
}

func signalAll(pids []int, sig unix.Signal) {
	for _, pid := range pids {
		_ = unix.Kill(pid, sig)
	}
}
