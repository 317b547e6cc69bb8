package node

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// machine gives access to facts about a machine.
type machine struct {
	root string // "/", except in tests
}

// maxProc bounds the bytes that are read of a kernel's file.
const maxProc = 64 << 10

// access reports whether this process's user may read and write path.
func access(path string) (readable, writable bool) {
	readable = unix.Access(path, unix.R_OK) == nil
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		readable = unix.Access(path, unix.R_OK|unix.X_OK) == nil
	}
	return readable, unix.Access(path, unix.W_OK) == nil
}

func (m machine) read(path string) string {
	f, err := os.Open(filepath.Join(m.root, path))
	if err != nil {
		return ""
	}
	defer f.Close()
	data, _ := io.ReadAll(io.LimitReader(f, maxProc))
	return string(data)
}

// memory returns the size of the machine's memory in bytes; 0 if unknown.
func (m machine) memory() int64 {
	for lines := bufio.NewScanner(strings.NewReader(m.read("proc/meminfo"))); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "MemTotal:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(text, "kB")), 10, 52)
			return kib << 10
		}
	}
	return 0
}

// kernel returns the release of the running kernel.
func kernel() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}
