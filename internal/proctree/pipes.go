//go:build linux

package proctree

import (
	"os"
	"strings"
)

// openFile is a descriptor of a process.
type openFile struct {
	name        string // the same for both ends of a pipe
	read, write bool
	standard    bool // it is one of the first three
}

// openFiles returns the files and pipes that a process has open, as far as the kernel shows them.
// Sockets are left out: both ends of one have different names, and a program's input and output may
// be one socket, which the processes that it starts share.
func openFiles(pid int) (files []openFile) {
	for _, fd := range entries(path(pid, "fd")) {
		link := path(pid, "fd/"+fd)
		name, _ := os.Readlink(link)
		if !strings.HasPrefix(name, "pipe:") && !strings.HasPrefix(name, "/") || strings.HasPrefix(name, "/dev/") {
			continue
		}
		if info, err := os.Lstat(link); err == nil {
			mode := info.Mode()
			files = append(files, openFile{name, mode&0o400 != 0, mode&0o200 != 0, len(fd) == 1 && fd <= "2"})
		}
	}
	return files
}

// feed reports whether the output of a process is the standard input of another. With any, other
// inputs of the reader count, too, if the process writes to them through its standard output or
// error.
func feed(writer, reader []openFile, any bool) bool {
	for _, w := range writer {
		for _, r := range reader {
			if w.write && r.read && w.name == r.name && (r.standard || any && w.standard) {
				return true
			}
		}
	}
	return false
}
