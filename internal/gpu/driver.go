package gpu

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
)

// Driver returns the facts about this machine's NVIDIA driver. A fact that it does not
// tell is empty.
func Driver(ctx context.Context) keyway.DriverFacts {
	return driver{root: "/", smi: smi{timeout: driverTimeout}}.facts(ctx)
}

// Module returns the version of the driver's part in the kernel, as files tell it; empty:
// there is none.
func Module() string { return driver{root: "/"}.module() }

func (d driver) module() string {
	if version := strings.TrimSpace(d.read("sys/module/nvidia/version")); version != "" {
		return version
	}
	if found := versionInText.FindStringSubmatch(d.read("proc/driver/nvidia/version")); found != nil {
		return found[1]
	}
	return ""
}

const (
	// driverTimeout bounds the time of nvidia-smi for a question only about the driver: files
	// answer most of it.
	driverTimeout = 10 * time.Second
	// maxVersionFile bounds the bytes that are read of a file of the kernel.
	maxVersionFile = 64 << 10
)

// driver gives access to the facts about a driver.
type driver struct {
	root string // "/", but in tests
	smi  smi
}

// versionInText finds the driver's version in /proc/driver/nvidia/version.
var versionInText = lazyregexp.New(`Kernel Module.*?\s(\d+\.[\d.]+)\s`)

// libraries are the directories in which Linux distributions install the driver's libraries.
var libraries = []string{"usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/lib", "usr/lib/wsl/lib", "usr/lib64/nvidia"}

// facts reads files first, because nvidia-smi fails if the two parts of a driver do not match,
// which is to be found out.
func (d driver) facts(ctx context.Context) keyway.DriverFacts {
	f := keyway.DriverFacts{Module: d.module(), Library: d.library()}
	path := d.smi.find()
	if path == "" {
		return f
	}
	var said log
	output, err := d.smi.run(ctx, path, "-q", "-x")
	if err != nil || xml.Unmarshal(withoutNames(output), &said) != nil {
		return f
	}
	if f.Module == "" {
		f.Module = told(said.Driver)
	}
	f.CUDA = told(said.CUDA)
	computes := d.computes(ctx, path)
	for i, g := range said.GPUs[:min(len(said.GPUs), maxGPUs)] {
		one := keyway.GPUFacts{Model: told(g.Model), Brand: told(g.Brand)}
		if i < len(computes) {
			one.Compute = computes[i]
		}
		f.GPUs = append(f.GPUs, one)
	}
	return f
}

func (d driver) read(path string) string {
	f, err := os.Open(filepath.Join(d.root, path))
	if err != nil {
		return ""
	}
	defer f.Close()
	data, _ := io.ReadAll(io.LimitReader(f, maxVersionFile))
	return string(data)
}

// library returns the version of libcuda, from its file's name. Of several files, it takes the one
// to which the name without a version leads.
func (d driver) library() string {
	for _, dir := range libraries {
		target, err := filepath.EvalSymlinks(filepath.Join(d.root, dir, "libcuda.so.1"))
		if err != nil {
			continue
		}
		if version, ok := strings.CutPrefix(filepath.Base(target), "libcuda.so."); ok && strings.Contains(version, ".") {
			return version
		}
	}
	return ""
}

// computes returns the compute capabilities of the GPUs, which older drivers do not report.
func (d driver) computes(ctx context.Context, path string) []string {
	output, err := d.smi.run(ctx, path, "--query-gpu=compute_cap", "--format=csv,noheader")
	if err != nil {
		return nil
	}
	var all []string
	for lines := bufio.NewScanner(bytes.NewReader(output)); lines.Scan() && len(all) < maxGPUs; {
		all = append(all, told(lines.Text()))
	}
	return all
}

// told returns a value as a short line, or empty if the driver does not report it.
func told(value string) string {
	if unknown(value) {
		return ""
	}
	return text(value)
}
