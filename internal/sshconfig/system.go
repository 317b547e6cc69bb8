package sshconfig

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// maxHostsFile bounds hosts(5) in bytes: lists that block advertisements are long.
const maxHostsFile = 16 << 20

// hostsFile returns the path of this system's hosts file.
func (r resolver) hostsFile() string {
	switch {
	case r.hosts != "":
		return r.hosts
	case runtime.GOOS == "windows":
		return filepath.Join(os.Getenv("SystemRoot"), "System32", "drivers", "etc", "hosts")
	}
	return "/etc/hosts"
}

// systemNames returns the names in a file hosts(5), and that of this machine, in
// lower case. A file that cannot be read has none.
func systemNames(file string) []string {
	data, _ := readBounded(file, maxHostsFile)
	var names []string
	for line := range strings.Lines(strings.ToLower(string(data))) {
		line, _, _ = strings.Cut(line, "#")
		if fields := strings.Fields(line); len(fields) > 1 {
			names = append(names, fields[1:]...)
		}
	}
	if own, err := os.Hostname(); err == nil {
		short, _, _ := strings.Cut(strings.ToLower(own), ".")
		names = append(names, short)
	}
	return names
}

// isAddress reports whether ssh takes a name for an IPv4 address, which may be one
// number (inet_aton(3)). A name has no dot, or it is refused for that.
func isAddress(name string) bool {
	digits, kind := name, "0123456789"
	if rest, ok := strings.CutPrefix(name, "0x"); ok {
		digits, kind = rest, kind+"abcdef"
	}
	return strings.Trim(digits, kind) == ""
}
