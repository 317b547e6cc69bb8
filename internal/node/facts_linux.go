package node

import (
	"bufio"
	"io"
	"math"
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

// hardLimits are those of this process that templates ask for.
func hardLimits() map[string]int64 {
	limits := map[string]int64{}
	for name, resource := range map[string]int{"nofile": unix.RLIMIT_NOFILE, "memlock": unix.RLIMIT_MEMLOCK, "stack": unix.RLIMIT_STACK,
		"nproc": unix.RLIMIT_NPROC, "core": unix.RLIMIT_CORE} {
		var r unix.Rlimit
		if unix.Getrlimit(resource, &r) != nil {
			continue
		}
		if limits[name] = int64(min(r.Max, math.MaxInt64)); r.Max > math.MaxInt64 {
			limits[name] = -1
		}
	}
	return limits
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
