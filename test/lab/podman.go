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

// podmanInit is the first process of the namespaces that Podman's service gets: its mounts and
// processes end with them. It leaves files in /run, so it gets a /run of its own.
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

// rootlessInit is the same for a user who is not root: he has a home directory and
// numbers of his own to give to a container's users.
const rootlessInit = `
mount --bind "$DIR/run" /run && mount -t tmpfs keyway "$DIR/work" && mkdir "$DIR/work/up" "$DIR/work/work" || exit 1
grep -v "^keyway-lab:" /etc/passwd >"$DIR/work/up/passwd" && grep -v "^keyway-lab:" /etc/group >"$DIR/work/up/group" || exit 1
echo "keyway-lab:x:$OWNER:$OWNER::$HOME:/bin/sh" >>"$DIR/work/up/passwd"
echo "keyway-lab:x:$OWNER:" >>"$DIR/work/up/group"
echo "keyway-lab:$RANGE" | tee "$DIR/work/up/subuid" >"$DIR/work/up/subgid"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$DIR/work/up,workdir=$DIR/work/work" /etc || exit 1
mknod -m 666 "$DIR/tun" c 10 200 && mount --bind "$DIR/tun" /dev/net/tun || exit 1 # for slirp4netns
mkdir -p "$XDG_RUNTIME_DIR" && chown "$OWNER:$OWNER" "$XDG_RUNTIME_DIR" || exit 1
setpriv --reuid "$OWNER" --regid "$OWNER" --clear-groups \
	podman --root "$HOME/data" --runroot "$HOME/state" --tmpdir "$HOME/tmp" --cgroup-manager cgroupfs \
	system service --time 0 "unix://$HOME/engine.sock" &
wait
`

// Subordinate is the range of numbers that the user of StartRootlessPodman gives to
// users of containers: from the first, that many.
var Subordinate = [2]int{1 << 21, 65536}

// StartRootlessPodman starts the service of Podman that the user of that number has,
// who is in no group.
func StartRootlessPodman(ctx context.Context, uid int) (*ContainerEngine, error) {
	for _, program := range []string{"newuidmap", "slirp4netns"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, err
		}
	}
	return startEngine(ctx, "podman", filepath.Join("home", "engine.sock"), syscall.SIGKILL, func(dir string) (*exec.Cmd, error) {
		cmd, err := podmanService(dir, rootlessInit, "run", "work", "home")
		if err != nil {
			return nil, err
		}
		home := filepath.Join(dir, "home")
		cmd.Env = append(cmd.Env, fmt.Sprint("OWNER=", uid), fmt.Sprintf("RANGE=%d:%d", Subordinate[0], Subordinate[1]),
			"HOME="+home, fmt.Sprint("XDG_RUNTIME_DIR=/run/user/", uid))
		return cmd, errors.Join(os.Chmod(dir, 0o711), os.Chown(home, uid, uid))
	})
}

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
	return startEngine(ctx, "podman", "engine.sock", syscall.SIGKILL, func(dir string) (*exec.Cmd, error) {
		cmd, err := podmanService(dir, podmanInit, "run", "data", "state", "tmp")
		if err != nil {
			return nil, err
		}
		if devices != "" {
			err := errors.Join(os.MkdirAll(filepath.Join(dir, "etc", "cdi"), 0o755), os.Mkdir(filepath.Join(dir, "work"), 0o755),
				os.WriteFile(filepath.Join(dir, "etc", "cdi", "nvidia.yaml"), []byte(devices), 0o644))
			if err != nil {
				return nil, err
			}
		}
		return cmd, nil
	})
}

// podmanService returns the command that runs a service of Podman's below dir by
// init. Those directories are made there.
func podmanService(dir, init string, names ...string) (*exec.Cmd, error) {
	for _, name := range names {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return nil, err
		}
	}
	config := filepath.Join(dir, "containers.conf")
	if err := os.WriteFile(config, []byte(podmanConfig(dir)), 0o644); err != nil {
		return nil, err
	}
	// unshare(1) handles no other signal, and ends the namespaces with itself.
	cmd := exec.Command("unshare", "--kill-child=KILL", "--mount-proc", "--pid", "--mount", "sh", "-c", init)
	cmd.Env = append(os.Environ(), "DIR="+dir, "CONTAINERS_CONF="+config)
	return cmd, nil
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
