//go:build linux

package proctree

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Process is what /proc/PID/stat says of a process (proc_pid_stat(5)).
type Process struct {
	PID, Parent    int
	Group, Session int
	Terminal       int    // device number of its terminal; 0: none
	Foreground     int    // group in the foreground of that terminal; -1: none
	Start          string // in clock ticks since boot: with PID, it names a process for good
	Zombie         bool
	Stopped        bool // by a signal
	Exiting        bool // past the point of return
	// Faults are its page faults that needed no disk, about one for each page of memory
	// that it has taken, and ChildFaults those of its children that have ended.
	Faults, ChildFaults int
}

const (
	// maxProc bounds what is read of one file of a process, in bytes.
	maxProc = 16 << 10
	// flagExiting is PF_EXITING of the kernel's include/linux/sched.h.
	flagExiting = 0x4
)

var errStat = errors.New("not a stat line")

// Read is the process pid, which may be a zombie.
func Read(pid int) (Process, error) {
	line, err := readProc(pid, "stat")
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
	p := Process{Start: f[19], Zombie: f[0] == "Z" || f[0] == "X", Stopped: f[0] == "T"}
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

// StartTime is the Start of the process pid, empty if there is no such process.
func StartTime(pid int) string {
	p, err := Read(pid)
	if err != nil {
		return ""
	}
	return p.Start
}

// dispositions are what a process does on signals, as masks: bit n-1 is signal n.
type dispositions struct{ ignored, caught, pending uint64 }

func (d dispositions) ignores(sig unix.Signal) bool { return d.ignored>>(sig-1)&1 == 1 }
func (d dispositions) catches(sig unix.Signal) bool { return d.caught>>(sig-1)&1 == 1 }

// dispositionsOf reads /proc/PID/status; all is default where that cannot be read.
func dispositionsOf(pid int) (d dispositions) {
	status, err := readProc(pid, "status")
	if err != nil {
		return d
	}
	for line := range strings.Lines(string(status)) {
		name, mask, _ := strings.Cut(line, ":")
		bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
		switch {
		case err != nil:
		case name == "SigIgn":
			d.ignored = bits
		case name == "SigCgt":
			d.caught = bits
		case name == "SigPnd", name == "ShdPnd":
			d.pending |= bits
		}
	}
	return d
}

// Pending reports whether a signal waits for the process to act on it.
func Pending(pid int, sig unix.Signal) bool { return dispositionsOf(pid).pending>>(sig-1)&1 == 1 }

// shells are programs that wait for the programs that they start.
var shells = []string{
	"ash", "bash", "csh", "dash", "elvish", "fish", "ksh", "ksh93", "lksh", "mksh", "nu", "oksh", "osh", "rbash", "sh", "tcsh", "yash", "zsh",
}

// isShell reports whether the process runs one of shells, by its program's file or, for
// busybox and its like, by its name.
func isShell(pid int) bool {
	program, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	if err != nil {
		return false
	}
	name := filepath.Base(program)
	if name == "busybox" || name == "toybox" {
		line, _ := readProc(pid, "cmdline")
		word, _, _ := strings.Cut(string(line), "\x00")
		name = filepath.Base(strings.TrimPrefix(word, "-"))
	}
	return slices.Contains(shells, name)
}

// readProc reads one of the small files of a process.
func readProc(pid int, name string) ([]byte, error) {
	f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxProc))
}

// All are the processes that /proc shows.
func All() []Process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []Process
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if p, err := Read(pid); err == nil { // else it has ended in between
				all = append(all, p)
			}
		}
	}
	return all
}
