//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// podmanInit is the first process of the namespaces that Podman's service gets:
// all that it mounts and starts ends with them. It leaves things in /run, so it
// gets one of its own.
const podmanInit = `
mount --bind "$DIR/run" /run || exit 1
if [ -d "$DIR/etc/cdi" ]; then # Podman 4 looks for descriptions of devices there and in /run/cdi
	mount -t tmpfs keyway "$DIR/work" && mkdir "$DIR/work/up" "$DIR/work/work" && cp -a "$DIR/etc/." "$DIR/work/up" &&
		mount -t overlay overlay -o "lowerdir=/etc,upperdir=$DIR/work/up,workdir=$DIR/work/work" /etc || exit 1
fi
podman --root "$DIR/data" --runroot "$DIR/state" --tmpdir "$DIR/tmp" --cgroup-manager cgroupfs \
	system service --time 0 "unix://$DIR/engine.sock" &
wait
`

// StartPodman starts Podman's service.
func StartPodman(ctx context.Context) (*ContainerEngine, error) { return startPodman(ctx, "") }

// StartGPUPodman starts Podman's service on a machine with that many GPUs, which it
// knows by a description for CDI: by their numbers and, if byUUID, by their UUIDs.
func StartGPUPodman(ctx context.Context, gpus int, byUUID bool) (*ContainerEngine, error) {
	return startPodman(ctx, cdi(gpus, byUUID))
}

// cdi describes GPUs as nvidia-ctk cdi generate does, with /dev/null for each.
func cdi(gpus int, byUUID bool) string {
	node := func(i int) string {
		return fmt.Sprintf("{path: /dev/nvidia%d, hostPath: /dev/null, type: c, major: 1, minor: 3}", i)
	}
	text := "cdiVersion: \"0.5.0\"\nkind: nvidia.com/gpu\ncontainerEdits: {env: [\"NVIDIA_VISIBLE_DEVICES=void\"]}\ndevices:\n"
	var all []string
	for i := range gpus {
		names := []string{strconv.Itoa(i)}
		if byUUID {
			names = append(names, LabGPU(i))
		}
		for _, name := range names {
			text += fmt.Sprintf("- {name: %q, containerEdits: {deviceNodes: [%s]}}\n", name, node(i))
		}
		all = append(all, node(i))
	}
	return text + "- {name: \"all\", containerEdits: {deviceNodes: [" + strings.Join(all, ", ") + "]}}\n"
}

func startPodman(ctx context.Context, devices string) (*ContainerEngine, error) {
	// unshare(1) heeds no other signal, and takes the namespaces along.
	return startEngine(ctx, "podman", syscall.SIGKILL, func(dir string) (*exec.Cmd, error) {
		for _, name := range []string{"run", "data", "state", "tmp"} {
			if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
				return nil, err
			}
		}
		if devices != "" {
			err := errors.Join(os.MkdirAll(filepath.Join(dir, "etc", "cdi"), 0o755), os.Mkdir(filepath.Join(dir, "work"), 0o755),
				os.WriteFile(filepath.Join(dir, "etc", "cdi", "nvidia.yaml"), []byte(devices), 0o644))
			if err != nil {
				return nil, err
			}
		}
		config := filepath.Join(dir, "containers.conf")
		if err := os.WriteFile(config, []byte(podmanConfig(dir)), 0o644); err != nil {
			return nil, err
		}
		cmd := exec.Command("unshare", "--kill-child=KILL", "--mount-proc", "--pid", "--mount", "sh", "-c", podmanInit)
		cmd.Env = append(os.Environ(), "DIR="+dir, "CONTAINERS_CONF="+config)
		return cmd, nil
	})
}

// podmanConfig makes Podman work as root in a machine that is a container
// itself: it must not raise limits there, which needs CAP_SYS_RESOURCE, and runc
// takes cgroup layouts that crun refuses. Nothing in tests needs a network.
func podmanConfig(dir string) string {
	var files, procs syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files)
	_ = syscall.Getrlimit(rlimitNproc, &procs)
	runtime := "runc"
	if _, err := exec.LookPath(runtime); err != nil {
		runtime = "crun"
	}
	return fmt.Sprintf("[containers]\nnetns = \"none\"\ncgroups = \"enabled\"\ndefault_ulimits = [\"nofile=%d:%d\", \"nproc=%d:%d\"]\n[engine]\nruntime = %q\n",
		min(files.Max, 1<<20), min(files.Max, 1<<20), min(procs.Max, pidMax()), min(procs.Max, pidMax()), runtime)
}

// rlimitNproc is RLIMIT_NPROC, which package syscall does not name.
const rlimitNproc = 6

func pidMax() uint64 {
	data, err := os.ReadFile("/proc/sys/kernel/pid_max")
	if err != nil {
		return 1 << 15
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 1 << 15
	}
	return n
}
