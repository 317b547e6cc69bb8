//go:build linux

package lab

import (
	"context"
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
podman --root "$DIR/data" --runroot "$DIR/state" --tmpdir "$DIR/tmp" --cgroup-manager cgroupfs \
	system service --time 0 "unix://$DIR/engine.sock" &
wait
`

// StartPodman starts Podman's Docker-compatible service.
func StartPodman(ctx context.Context) (*ContainerEngine, error) {
	// unshare(1) heeds no other signal, and takes the namespaces along.
	return startEngine(ctx, "podman", syscall.SIGKILL, func(dir string) (*exec.Cmd, error) {
		for _, name := range []string{"run", "data", "state", "tmp"} {
			if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
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
