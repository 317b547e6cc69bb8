//go:build linux

package guest

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// maxStat bounds one /proc/PID/stat.
const maxStat = 4 << 10

// procStat is the part of proc_pid_stat(5) that tells who descends from whom.
type procStat struct {
	pid    int
	parent int
	zombie bool
}

// parseStat reads a stat line. The name between its parentheses is the
// program's choice and may hold blanks and parentheses itself.
func parseStat(line []byte) (procStat, bool) {
	open, shut := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 1 || shut < open {
		return procStat{}, false
	}
	fields := bytes.Fields(line[shut+1:])
	if len(fields) < 2 {
		return procStat{}, false
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(line[:open])))
	if err != nil {
		return procStat{}, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return procStat{}, false
	}
	state := fields[0][0]
	return procStat{pid: pid, parent: parent, zombie: state == 'Z' || state == 'X'}, true
}

// processes lists what /proc shows.
func processes() []procStat {
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	var all []procStat
	for _, path := range paths {
		data, err := readBounded(path, maxStat)
		if err != nil {
			continue // it has ended in between
		}
		if p, ok := parseStat(data); ok {
			all = append(all, p)
		}
	}
	return all
}

// living returns those of all that run beneath the process self. Process 1 of a
// container answers for whoever was put in from outside, too.
func living(all []procStat, self int) []int {
	children := map[int][]procStat{}
	for _, p := range all {
		children[p.parent] = append(children[p.parent], p)
	}
	queue := children[self]
	if self == 1 {
		queue = append(queue, children[0]...)
	}
	var found []int
	seen := map[int]bool{self: true}
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		if seen[p.pid] {
			continue
		}
		seen[p.pid] = true
		queue = append(queue, children[p.pid]...)
		if !p.zombie {
			found = append(found, p.pid)
		}
	}
	return found
}

func descendants() []int { return living(processes(), os.Getpid()) }
