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

// machine is where facts about a machine are found.
type machine struct {
	root string // "/", but in tests
}

// maxProc bounds what is read of a file of the kernel, in bytes.
const maxProc = 64 << 10

// access reports whether this process's user may read and write what is there.
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

// memory is how much the machine has, in bytes; 0: not told.
func (m machine) memory() int64 {
	for lines := bufio.NewScanner(strings.NewReader(m.read("proc/meminfo"))); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "MemTotal:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(text, "kB")), 10, 52)
			return kib << 10
		}
	}
	return 0
}

// kernel is the release of the running kernel.
func kernel() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}
