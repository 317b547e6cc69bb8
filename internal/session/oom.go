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

// OOMCounter is the file in which the kernel counts the processes that it has killed for lack of
// memory, in the control group of this process. If that group has no counter, it is the counter of
// the machine. The file stays open: a holder reads it every second, and code that an idle process
// runs stays in memory.
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

// read returns the start of the file, valid until the next call.
func (c *OOMCounter) read() []byte {
	n, err := unix.Pread(c.fd, c.text[:], 0)
	if err != nil {
		return nil
	}
	return c.text[:n]
}

// Kills returns the number of killed processes; 0 if there is no counter. Only its growth has a
// meaning.
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

// OOMKills returns the present value of an OOMCounter.
func OOMKills() uint64 {
	c := OpenOOMCounter()
	defer c.Close()
	return c.Kills()
}

// oomFiles returns the possible paths of the counter, for the lines of /proc/PID/cgroup
// (cgroups(7)). A container that sees the host's names of its control groups has its own group
// mounted at the root.
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
	// maxKernelText bounds the bytes that are read of the kernel's small files. The longest,
	// /proc/vmstat, has about 5,000.
	maxKernelText = 8 << 10
)

// counter reads the number in the line that begins with name.
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
