//go:build linux

package proctree

import (
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dispositions has the actions of a process on signals, as masks: bit n-1 is signal n.
type dispositions struct{ ignored, caught, pending uint64 }

func (d dispositions) ignores(sig unix.Signal) bool { return d.ignored>>(sig-1)&1 == 1 }
func (d dispositions) catches(sig unix.Signal) bool { return d.caught>>(sig-1)&1 == 1 }

// dispositionsOf reads the masks of a process; all is default where they cannot be read.
func dispositionsOf(pid int) dispositions {
	s := statusOf(pid)
	return dispositions{s.mask("SigIgn"), s.mask("SigCgt"), s.mask("SigPnd") | s.mask("ShdPnd")}
}

// mask returns a set of signals; empty where the field is none.
func (s status) mask(name string) uint64 {
	bits, err := strconv.ParseUint(s.field(name), 16, 64)
	if err != nil {
		return 0
	}
	return bits
}

// Pending reports whether a signal waits for the process to act on it.
func Pending(pid int, sig unix.Signal) bool { return dispositionsOf(pid).pending>>(sig-1)&1 == 1 }

// shells lists the programs that wait for the programs that they start.
const shells = " ash bash csh dash elvish fish ksh ksh93 lksh mksh nu oksh osh rbash sh tcsh yash zsh "

// nameOf returns the name of the process's program file or, for busybox and similar programs, of
// the program in it.
func nameOf(pid int) string {
	name := filepath.Base(Program(pid))
	if name == "busybox" || name == "toybox" || name == "coreutils" {
		if args, err := CommandLine(pid); err == nil {
			name = filepath.Base(strings.TrimPrefix(args[0], "-"))
		}
	}
	return name
}
