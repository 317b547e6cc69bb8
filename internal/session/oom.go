//go:build linux

package session

import (
	"bytes"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// OOMCounter is the file in which the kernel counts the processes that it has killed for
// lack of memory, in the control group of this process; where that is not counted, on this
// machine. It stays open: a holder reads it every second, and whatever an idle process
// runs for that stays in memory.
type OOMCounter struct {
	fd   int        // -1: there is none
	mu   sync.Mutex // guards text
	text [maxKernelText]byte
}

// OpenOOMCounter finds the counter.
func OpenOOMCounter() *OOMCounter { return openOOMCounter("/") }

// openOOMCounter is OpenOOMCounter below another root directory.
func openOOMCounter(root string) *OOMCounter {
	c := &OOMCounter{fd: -1}
	c.open(filepath.Join(root, "proc/self/cgroup"))
	groups := string(c.read())
	for _, file := range append(oomFiles(groups), "proc/vmstat") {
		c.open(filepath.Join(root, file))
		if _, ok := counter(c.read(), oomKill); ok {
			break
		}
	}
	return c
}

func (c *OOMCounter) open(path string) {
	c.Close()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		c.fd = fd
	}
}

// read is the start of the file, until the next call.
func (c *OOMCounter) read() []byte {
	n, err := unix.Pread(c.fd, c.text[:], 0)
	if err != nil {
		return nil
	}
	return c.text[:n]
}

// Kills is the number of those processes; 0 if nothing counts them. Only its
// growth has a meaning.
func (c *OOMCounter) Kills() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, _ := counter(c.read(), oomKill)
	return n
}

// Close closes the file.
func (c *OOMCounter) Close() {
	if c.fd >= 0 {
		unix.Close(c.fd)
	}
	c.fd = -1
}

// OOMKills is what an OOMCounter tells now.
func OOMKills() uint64 {
	c := OpenOOMCounter()
	defer c.Close()
	return c.Kills()
}

// oomFiles are where the counter may be, for the lines of cgroups(7)'s
// /proc/PID/cgroup. A container that sees the host's names of its control groups
// has its own where the root of all would be.
func oomFiles(groups string) []string {
	const mounted = "sys/fs/cgroup"
	var files []string
	for line := range strings.Lines(groups) {
		field := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(field) != 3 {
			continue
		}
		switch {
		case field[0] == "0" && field[1] == "": // version 2
			files = append(files, filepath.Join(mounted, field[2], "memory.events"), filepath.Join(mounted, "memory.events"))
		case strings.Contains(","+field[1]+",", ",memory,"):
			dir := filepath.Join(mounted, "memory")
			files = append(files, filepath.Join(dir, field[2], "memory.oom_control"), filepath.Join(dir, "memory.oom_control"))
		}
	}
	return files
}

const (
	// oomKill begins the counter's line in each of these files.
	oomKill = "oom_kill "
	// maxKernelText bounds what is read of the kernel's small files, in bytes. The longest,
	// /proc/vmstat, has about 5,000.
	maxKernelText = 8 << 10
)

// counter reads the number in the line that begins with a name.
func counter(text []byte, name string) (uint64, bool) {
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		if value, ok := bytes.CutPrefix(line, []byte(name)); ok {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
