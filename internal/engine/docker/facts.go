package docker

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/moby/api/types/system"

	"keyway/internal/keyway"
)

// Facts returns the facts that decide whether a workspace can run here.
func (e *Engine) Facts(ctx context.Context, image string) (keyway.EngineFacts, error) {
	d, err := e.client.Identify(ctx)
	if err != nil {
		return keyway.EngineFacts{}, err
	}
	said, err := e.client.Said(ctx)
	if err != nil {
		return keyway.EngineFacts{}, err
	}
	f := facts(said, d.Podman, e.client.Local(), "/")
	if f.Rootless, err = e.client.Rootless(ctx, d, said); err != nil {
		return keyway.EngineFacts{}, e.client.Explain(ctx, err)
	}
	f.RemoteDaemon = e.client.RemoteReason(said)
	f.Image, err = e.Present(ctx, image)
	return f, err
}

// Refuses returns why the engine makes no workspace of s, as far as that can be told before
// anything is pulled or made.
func (e *Engine) Refuses(ctx context.Context, s keyway.Spec) error {
	d, err := e.client.Identify(ctx)
	if err == nil {
		err = check(d, e.client.Local(), s)
	}
	if err == nil && dependsOnDaemon(s) {
		var said system.Info
		if said, err = e.client.Said(ctx); err == nil {
			d, err = e.client.Inquire(ctx, d, said)
		}
	}
	return cmp.Or(err, unlimited(d, s.Resources))
}

// hooks are the paths at which packages install the program by which daemons without NVIDIA's
// runtime assign GPUs.
var hooks = []string{"usr/bin/nvidia-container-runtime-hook", "usr/local/bin/nvidia-container-runtime-hook", "usr/bin/nvidia-container-toolkit", "usr/local/nvidia/toolkit/nvidia-container-runtime-hook"}

// facts combines the daemon's description with the files of the machine below root, which is the
// daemon's own if local is set.
func facts(i system.Info, podman, local bool, root string) keyway.EngineFacts {
	f := keyway.EngineFacts{Systemd: !podman && i.CgroupDriver == "systemd"}
	_, f.Runtime = i.Runtimes["nvidia"]
	dirs := i.CDISpecDirs
	if podman {
		dirs = []string{"/etc/cdi", "/var/run/cdi"}
	} else { // Podman takes a limit above the number of processors
		f.CPUs = i.NCPU
	}
	if !local { // its files cannot be seen; unknown must not count as missing
		f.Runtime = f.Runtime || !podman
		f.CDI = podman || len(dirs) > 0
		return f
	}
	for _, dir := range dirs {
		f.CDI = f.CDI || describesGPUs(filepath.Join(root, dir))
	}
	for _, device := range i.DiscoveredDevices {
		f.CDI = f.CDI || strings.HasPrefix(device.ID, "nvidia.com/gpu=")
	}
	for _, hook := range hooks {
		_, err := os.Stat(filepath.Join(root, hook))
		f.Runtime = f.Runtime || !podman && err == nil
	}
	const nvidiaMajor = "195:*"
	links, _ := filepath.Glob(filepath.Join(root, "dev/char", nvidiaMajor))
	f.DevChar = len(links) > 0
	f.Free = free(filepath.Join(root, i.DockerRootDir))
	return f
}

// Bounds on the number of CDI descriptions and on the size of each.
const (
	maxCDI     = 64
	maxCDIFile = 1 << 20
)

// describesGPUs reports whether a directory has a CDI description of NVIDIA's GPUs.
func describesGPUs(dir string) bool {
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, file := range files[:min(len(files), maxCDI)] {
		if st, err := os.Stat(file); err != nil || !st.Mode().IsRegular() || st.Size() > maxCDIFile {
			continue
		}
		if data, err := os.ReadFile(file); err == nil && strings.Contains(string(data), "nvidia.com/gpu") {
			return true
		}
	}
	return false
}
