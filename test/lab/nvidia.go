//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// toolkit is the module of NVIDIA's container runtime, and the version that is taken.
const (
	toolkit        = "github.com/NVIDIA/nvidia-container-toolkit"
	toolkitVersion = "v1.20.2"
	nvidiaRuntime  = "nvidia-container-runtime"
)

// NVIDIARuntime returns NVIDIA's container runtime, built from its source once for each
// version: that takes gcc, the module proxy and half a minute.
func NVIDIARuntime(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "keyway-lab", "nvidia-container-toolkit-"+toolkitVersion)
	program := filepath.Join(dir, nvidiaRuntime)
	if executable(program) {
		return program, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	cmd := exec.CommandContext(ctx, "go", "install", toolkit+"/cmd/"+nvidiaRuntime+"@"+toolkitVersion)
	cmd.Env = append(os.Environ(), "GOBIN="+fresh, "CGO_ENABLED=1", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s %s: %w\n%s", nvidiaRuntime, toolkitVersion, err, out)
	}
	return program, os.Rename(filepath.Join(fresh, nvidiaRuntime), program)
}

// toolkitConfig makes the runtime provide devices by their descriptions for CDI, for which it needs
// no driver.
const toolkitConfig = `[nvidia-container-runtime]
mode = "cdi"
runtimes = ["runc"]
[nvidia-container-runtime.modes.cdi]
default-kind = "nvidia.com/gpu"
spec-dirs = [%q]
`

// unusedHook must be there for dockerd to take --gpus. The runtime takes it out of each
// container again.
const unusedHook = "#!/bin/sh\necho 'nvidia-container-runtime-hook: the runtime has left it in' >&2\nexit 1\n"

// StartNVIDIADocker starts a dockerd whose default runtime is NVIDIA's own, which gives
// that many GPUs, with the UUIDs GPU-fake-0 and so on, by a made-up description.
func StartNVIDIADocker(ctx context.Context, runtime string, gpus int) (*ContainerEngine, error) {
	return startEngine(ctx, "dockerd", "engine.sock", syscall.SIGTERM, func(dir string) (*exec.Cmd, error) {
		bin, devices, config := filepath.Join(dir, "bin"), filepath.Join(dir, "cdi"), filepath.Join(dir, nvidiaRuntime)
		cmd, err := dockerd(dir, bin)
		if err != nil {
			return nil, err
		}
		cmd.Env = append(cmd.Env, "XDG_CONFIG_HOME="+dir)
		daemon, err := json.Marshal(map[string]any{
			"runtimes": map[string]any{"nvidia": map[string]string{"path": runtime}}, "default-runtime": "nvidia",
		})
		for _, d := range []string{bin, devices, config} {
			err = errors.Join(err, os.Mkdir(d, 0o755))
		}
		for file, text := range map[string]string{
			filepath.Join(dir, "daemon.json"):         string(daemon),
			filepath.Join(devices, "nvidia.yaml"):     cdi(gpus, true),
			filepath.Join(config, "config.toml"):      fmt.Sprintf(toolkitConfig, devices),
			filepath.Join(bin, nvidiaRuntime+"-hook"): unusedHook,
		} {
			err = errors.Join(err, os.WriteFile(file, []byte(text), 0o755))
		}
		return cmd, err
	})
}
