package proctree

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// Process has the contents of /proc/PID/stat (proc_pid_stat(5)).
type Process struct {
	PID, Parent    int
	Group, Session int
	Terminal       int    // device number of its terminal; 0: none
	Foreground     int    // group in the foreground of that terminal; -1: none
	Start          string // in clock ticks since boot: with PID, it identifies a process uniquely
	Zombie         bool
	Stopped        bool // by a signal
	Traced         bool // stopped by a debugger
	Exiting        bool // past the point of return
	// Faults are its page faults that needed no disk, about one for each page of memory
	// that it has taken, and ChildFaults those of its children that have ended.
	Faults, ChildFaults int
}

// flagExiting is PF_EXITING of the kernel's include/linux/sched.h.
const flagExiting = 0x4

var errStat = errors.New("not a stat line")

// IsStopped reports whether a process is stopped by a signal or a debugger. Where there is
// no /proc, none is.
func IsStopped(pid int) bool {
	p, err := Read(pid)
	return err == nil && (p.Stopped || p.Traced)
}

// Read returns the process pid, which may be a zombie.
func Read(pid int) (Process, error) {
	line, err := read(pid, "stat", maxSmall)
	if err != nil {
		return Process{}, err
	}
	return Parse(line)
}

// Parse reads a stat line. The name between its parentheses is the program's choice
// and may hold blanks and parentheses itself.
func Parse(line []byte) (Process, error) {
	head, _, ok := bytes.Cut(line, []byte(" ("))
	f := strings.Fields(string(line[bytes.LastIndexByte(line, ')')+1:]))
	if !ok || len(f) < 20 {
		return Process{}, errStat
	}
	p := Process{Start: f[19], Zombie: f[0] == "Z" || f[0] == "X", Stopped: f[0] == "T", Traced: f[0] == "t"}
	flags := 0
	for _, field := range []struct {
		text string
		to   *int
	}{
		{string(head), &p.PID}, {f[1], &p.Parent}, {f[2], &p.Group}, {f[3], &p.Session},
		{f[4], &p.Terminal}, {f[5], &p.Foreground}, {f[6], &flags},
		{f[7], &p.Faults}, {f[8], &p.ChildFaults},
	} {
		n, err := strconv.Atoi(field.text)
		if err != nil {
			return Process{}, errStat
		}
		*field.to = n
	}
	p.Exiting = p.Zombie || flags&flagExiting != 0
	return p, nil
}

// StartTime returns the Start of the process pid, empty if there is no such process.
func StartTime(pid int) string {
	p, err := Read(pid)
	if err != nil {
		return ""
	}
	return p.Start
}

// All returns the processes that /proc shows.
func All() []Process {
	var all []Process
	for _, pid := range PIDs() {
		if p, err := Read(pid); err == nil { // else it has ended in between
			all = append(all, p)
		}
	}
	return all
}
