//go:build linux

package guest

import (
	"bytes"
	"strconv"
	"strings"
)

// maxPasswd bounds /etc/passwd, which comes with the image.
const maxPasswd = 4 << 20

// passwdEntry is the part of a line of passwd(5) that the guest uses.
type passwdEntry struct {
	name  string
	uid   int
	home  string
	shell string
}

// parsePasswd returns the entries of a passwd file. It skips malformed lines, as
// getpwent(3) does.
func parsePasswd(data []byte) []passwdEntry {
	var entries []passwdEntry
	for line := range bytes.Lines(data) {
		fields := strings.Split(strings.TrimRight(string(line), "\r\n"), ":")
		if len(fields) != 7 || fields[0] == "" || fields[0][0] == '#' {
			continue
		}
		uid, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil {
			continue
		}
		entries = append(entries, passwdEntry{name: fields[0], uid: int(uid), home: fields[5], shell: fields[6]})
	}
	return entries
}

// line formats e as a line of passwd(5), with the group gid.
func (e passwdEntry) line(gid int) string {
	return strings.Join([]string{e.name, "x", strconv.Itoa(e.uid), strconv.Itoa(gid), "keyway", e.home, e.shell}, ":") + "\n"
}
