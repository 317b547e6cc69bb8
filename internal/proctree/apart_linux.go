package proctree

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Apart returns why this process cannot take the place of another of its user: it would connect in
// another network, find other files, write more than that one may, or end with that one's terminal.
// Empty: nothing of that.
func Apart(pid int) string {
	for _, name := range []string{"net", "mnt"} {
		theirs, err := os.Readlink(path(pid, "ns/"+name))
		ours, _ := os.Readlink("/proc/self/ns/" + name)
		if err != nil || theirs != ours {
			return "in another namespace: " + name
		}
	}
	theirs, err := os.Stat(path(pid, "root"))
	ours, _ := os.Stat("/")
	if err != nil || !os.SameFile(theirs, ours) {
		return "in another root directory"
	}
	if limited(pid) {
		return "with a bound of the size of files"
	}
	if dispositionsOf(pid).ignores(unix.SIGHUP) {
		return "to stay when its terminal goes"
	}
	return ""
}

// limited reports whether the process may not write files of any size (RLIMIT_FSIZE).
func limited(pid int) bool {
	data, _ := read(pid, "limits", maxSmall)
	_, rest, _ := strings.Cut(string(data), "\nMax file size")
	values := strings.Fields(rest)
	return len(values) == 0 || values[0] != "unlimited"
}
