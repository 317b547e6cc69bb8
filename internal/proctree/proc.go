package proctree

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
)

// Bounds on the bytes that are read of one file of a process.
const (
	maxSmall = 16 << 10
	// maxWords is more than all arguments and variables of a process may take together
	// on Linux (execve(2)): 6 MiB.
	maxWords = 8 << 20
)

// path returns the path of a file in /proc about a process, or of the directory if name is
// empty. On systems other than Linux there is no such directory, and everything is unknown.
func path(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }

// read reads a file of a process. A longer one is cut off at the bound.
func read(pid int, name string, bound int64) ([]byte, error) {
	f, err := os.Open(path(pid, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, bound))
}

// PIDs returns the numbers of the processes that /proc shows.
func PIDs() (pids []int) {
	for _, name := range entries("/proc") {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// entries returns the names in a directory of the kernel's, as far as they are shown.
func entries(path string) []string {
	dir, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	return names
}

// Program returns the path of the process's program; empty if it is not told.
func Program(pid int) string {
	p, err := os.Readlink(path(pid, "exe"))
	if err != nil {
		return ""
	}
	return p
}

// Runs reports whether the process runs this very file, whatever its name is by now.
func Runs(pid int, program os.FileInfo) bool {
	running, err := os.Stat(path(pid, "exe"))
	return err == nil && os.SameFile(running, program)
}

// Name returns the name of the process, which the kernel truncates to 15 bytes; empty if
// unknown. The process can choose it.
func Name(pid int) string {
	name, err := read(pid, "comm", maxSmall)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(name), "\n")
}

var errNoWords = errors.New("the process has no command line")

// CommandLine returns the arguments of the process, at least one.
func CommandLine(pid int) ([]string, error) {
	data, err := read(pid, "cmdline", maxWords)
	if err == nil && len(data) == 0 {
		err = errNoWords
	}
	if err != nil {
		return nil, err
	}
	return words(data), nil
}

// Environment returns the environment with which the process was started, each as NAME=VALUE.
// The kernel shows it only to the process's own user and root, and not for a zombie.
func Environment(pid int) ([]string, error) {
	data, err := read(pid, "environ", maxWords)
	if err != nil || len(data) == 0 {
		return nil, err
	}
	return words(data), nil
}

// words splits a text whose parts the kernel ends by NUL.
func words(data []byte) []string {
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
}

// maxGroups bounds the list of control groups in bytes.
const maxGroups = 64 << 10

// Group is one control group of a process (cgroups(7)).
type Group struct {
	Controllers string // separated by commas; empty: version 2
	Path        string // from the root of the hierarchy
}

// Groups returns the control groups of the process.
func Groups(pid int) ([]Group, error) {
	data, err := read(pid, "cgroup", maxGroups)
	if err != nil {
		return nil, err
	}
	return parseGroups(string(data)), nil
}

func parseGroups(text string) (groups []Group) {
	for line := range strings.Lines(text) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		if controllers, group, ok := strings.Cut(rest, ":"); ok {
			groups = append(groups, Group{controllers, group})
		}
	}
	return groups
}

// status is /proc/PID/status: a name, a colon and a value each line.
type status string

func statusOf(pid int) status {
	data, _ := read(pid, "status", maxSmall)
	return status(data)
}

// field returns the value of a name; empty if there is none.
func (s status) field(name string) string {
	_, value, _ := strings.Cut("\n"+string(s), "\n"+name+":")
	value, _, _ = strings.Cut(value, "\n")
	return strings.TrimSpace(value)
}

// IsFirst reports whether the process is the first one of a namespace below this
// process's, as that of a container is.
func IsFirst(pid int) bool { return statusOf(pid).first() }

func (s status) first() bool {
	numbers := strings.Fields(s.field("NSpid"))
	return len(numbers) > 1 && numbers[len(numbers)-1] == "1"
}

// Traced reports whether a debugger follows this process, or whether that is not known.
func Traced() bool { return statusOf(os.Getpid()).field("TracerPid") != "0" }

// Files returns the targets of the process's descriptors, as far as the kernel shows them: the
// path of a file, or the kernel's name for other objects, as "socket:[4711]".
func Files(pid int) (targets []string) {
	for _, fd := range entries(path(pid, "fd")) {
		if target, err := os.Readlink(path(pid, "fd/"+fd)); err == nil {
			targets = append(targets, target)
		}
	}
	return targets
}

// Hidden reports whether the kernel shows nothing of the process, whether or not it lives:
// with the option hidepid (proc(5)), processes of other users are not shown.
func Hidden(pid int) bool {
	_, err := os.Stat(path(pid, ""))
	return err != nil
}

// Boot names the time since this machine was started, in which numbers of processes and
// their starts are unique; empty if it has no name.
var Boot = sync.OnceValue(func() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
})
