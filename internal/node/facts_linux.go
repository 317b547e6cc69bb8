package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
)

// machine is where facts about a machine are found.
type machine struct {
	root string // "/", but in tests
	smi  string // the program nvidia-smi
}

// Bounds on what the driver says.
const (
	smiTimeout = 10 * time.Second // it hangs on a GPU that is lost
	maxSMI     = 8 << 20
	maxGPUs    = 256
	maxProc    = 64 << 10
)

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

// versionInText finds the driver's version in /proc/driver/nvidia/version.
var versionInText = regexp.MustCompile(`Kernel Module.*?\s(\d+\.[\d.]+)\s`)

// libraries are where Linux distributions have the driver's libraries.
var libraries = []string{"usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/lib", "usr/lib/wsl/lib", "usr/lib64/nvidia"}

// driver tells of NVIDIA's driver: from files first, because nvidia-smi fails where
// the two parts of a driver do not fit, which is what is to be found out.
func (m machine) driver(ctx context.Context) keyway.DriverFacts {
	d := keyway.DriverFacts{Module: strings.TrimSpace(m.read("sys/module/nvidia/version"))}
	if found := versionInText.FindStringSubmatch(m.read("proc/driver/nvidia/version")); d.Module == "" && found != nil {
		d.Module = found[1]
	}
	d.Library = m.library()
	l, err := m.ask(ctx)
	if err != nil {
		return d
	}
	if d.Module == "" {
		d.Module = word(l.Driver)
	}
	d.CUDA = word(l.CUDA)
	computes := m.computes(ctx)
	for i, g := range l.GPUs[:min(len(l.GPUs), maxGPUs)] {
		facts := keyway.GPUFacts{Model: word(g.Model), Brand: word(g.Brand)}
		if i < len(computes) {
			facts.Compute = computes[i]
		}
		d.GPUs = append(d.GPUs, facts)
	}
	return d
}

// library is the version of libcuda, from its file's name; of several, that which the
// name without a version leads to.
func (m machine) library() string {
	for _, dir := range libraries {
		target, err := filepath.EvalSymlinks(filepath.Join(m.root, dir, "libcuda.so.1"))
		if err != nil {
			continue
		}
		if version, ok := strings.CutPrefix(filepath.Base(target), "libcuda.so."); ok && strings.Contains(version, ".") {
			return version
		}
	}
	return ""
}

// smiLog is the part of nvidia-smi -q -x that is of use here.
type smiLog struct {
	Driver string `xml:"driver_version"`
	CUDA   string `xml:"cuda_version"`
	GPUs   []struct {
		Model string `xml:"product_name"`
		Brand string `xml:"product_brand"`
	} `xml:"gpu"`
}

func (m machine) ask(ctx context.Context) (l smiLog, err error) {
	out, err := m.run(ctx, "-q", "-x")
	if err == nil {
		err = xml.Unmarshal(out, &l)
	}
	return l, err
}

// computes are the compute capabilities of the GPUs, which older drivers do not tell.
func (m machine) computes(ctx context.Context) []string {
	out, err := m.run(ctx, "--query-gpu=compute_cap", "--format=csv,noheader")
	if err != nil {
		return nil
	}
	var all []string
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan() && len(all) < maxGPUs; {
		all = append(all, word(lines.Text()))
	}
	return all
}

func (m machine) run(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, smiTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.smi, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	data, readErr := io.ReadAll(io.LimitReader(out, maxSMI))
	if err := cmd.Wait(); err != nil {
		return nil, err
	}
	return data, readErr
}

// word is what the driver says of one thing, empty where it says nothing.
func word(s string) string {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "[") || s == "N/A" || len(s) > 128 {
		return ""
	}
	return s
}
