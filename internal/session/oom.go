//go:build linux

package session

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// OOMKills is how many processes the kernel has killed for lack of memory, in the
// control group of this process; where that is not counted, on this machine. What
// counts is only whether it grows.
func OOMKills() uint64 { return oomKillsIn("/") }

// oomKillsIn is oomKills below another root directory.
func oomKillsIn(root string) uint64 {
	groups, _ := readText(filepath.Join(root, "proc/self/cgroup"))
	for _, file := range append(oomFiles(groups), "proc/vmstat") {
		text, err := readText(filepath.Join(root, file))
		if n, ok := counter(text, "oom_kill"); err == nil && ok {
			return n
		}
	}
	return 0
}

// oomFiles are where the counter may be, for the lines of cgroups(7)'s
// /proc/PID/cgroup. A container that sees the host's names of its control groups
// has its own where the root of all would be.
func oomFiles(groups string) []string {
	const mounted = "sys/fs/cgroup"
	var files []string
	for line := range strings.Lines(groups) {
		field := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(field) != 3 {
			continue
		}
		switch {
		case field[0] == "0" && field[1] == "": // version 2
			files = append(files, filepath.Join(mounted, field[2], "memory.events"), filepath.Join(mounted, "memory.events"))
		case strings.Contains(","+field[1]+",", ",memory,"):
			dir := filepath.Join(mounted, "memory")
			files = append(files, filepath.Join(dir, field[2], "memory.oom_control"), filepath.Join(dir, "memory.oom_control"))
		}
	}
	return files
}

// counter reads one of lines of a name and a number.
func counter(text, name string) (uint64, bool) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// maxKernelText bounds what is read of the kernel's small files.
const maxKernelText = 64 << 10

func readText(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKernelText))
	return string(data), err
}
