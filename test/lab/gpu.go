//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ContainerEngine is a container daemon that was started for tests on this
// machine, beside any other one. Close ends it with all that runs in it.
type ContainerEngine struct {
	// Host is its address as DOCKER_HOST has it.
	Host string

	dir  string
	log  string
	main *child
}

// gpuHook stands in for NVIDIA's OCI hook. dockerd before version 25 knows
// --gpus if it finds a program of that name in its PATH when it starts; it then
// says which GPUs are wanted in the container's environment and has the program
// run before the container's first process. This one gives /dev/null under the
// name of each GPU, and fails as the real one does for a GPU that is not there.
const gpuHook = `#!/bin/sh
for stage; do :; done
[ "$stage" = prestart ] || exit 0
state=$(cat)
pid=$(printf '%s' "$state" | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')
bundle=$(printf '%s' "$state" | sed -n 's/.*"bundle": *"\([^"]*\)".*/\1/p')
root=$(sed -n 's/.*"root":{"path":"\([^"]*\)".*/\1/p' "$bundle/config.json")
want=$(grep -o '"NVIDIA_VISIBLE_DEVICES=[^"]*"' "$bundle/config.json" | tail -n 1 | sed 's/.*=\(.*\)"/\1/')
case $want in
'' | void | none) exit 0 ;;
all) want=$(seq -s ' ' 0 $((GPUS - 1))) ;;
esac
for gpu in $(printf '%s' "$want" | tr , ' '); do
	index=${gpu#GPU-fake-}
	case $index in
	[0-9]) [ "$index" -lt GPUS ] && known=yes || known= ;;
	*) known= ;;
	esac
	if [ -z "$known" ]; then
		echo "nvidia-container-cli: device error: $gpu: unknown device" >&2
		exit 1
	fi
	nsenter -t "$pid" -m sh -c ': >"$1" && mount --bind /dev/null "$1"' - "$root/dev/nvidia$index" || exit 1
done
`

// StartGPUDocker starts a dockerd for which this machine has that many GPUs (at most 10), with the
// UUIDs GPU-fake-0, GPU-fake-1 and so on.
func StartGPUDocker(ctx context.Context, gpus int) (*ContainerEngine, error) {
	return startEngine(ctx, "dockerd", "engine.sock", syscall.SIGTERM, func(dir string) (*exec.Cmd, error) {
		bin := filepath.Join(dir, "bin")
		if err := os.Mkdir(bin, 0o755); err != nil {
			return nil, err
		}
		hook := strings.ReplaceAll(gpuHook, "GPUS", fmt.Sprint(gpus))
		if err := os.WriteFile(filepath.Join(bin, "nvidia-container-runtime-hook"), []byte(hook), 0o755); err != nil {
			return nil, err
		}
		return dockerd(dir, bin)
	})
}

// AddGPUs gives the GPU machine that many GPUs (at most 10), with the UUIDs GPU-fake-0 and so
// on: its nvidia-smi lists them, and its dockerd, which is restarted, can give them to
// containers. Running containers end.
func (l *Lab) AddGPUs(gpus int) (*FakeSMI, error) {
	hook := strings.ReplaceAll(gpuHook, "GPUS", fmt.Sprint(gpus))
	if err := l.GPU.WriteFile("/usr/local/bin/nvidia-container-runtime-hook", hook, 0o755); err != nil {
		return nil, err
	}
	smi, err := NewFakeSMI(l.GPU.Path("/usr/local/bin"), gpus)
	if err != nil {
		return nil, err
	}
	l.StopDockerd()
	return smi, l.StartDockerd()
}

// StartBlindDocker starts a dockerd that does not see the files in hidden, as one on another
// machine or in another mount namespace.
func StartBlindDocker(ctx context.Context, hidden string) (*ContainerEngine, error) {
	return startEngine(ctx, "dockerd", "engine.sock", syscall.SIGTERM, func(dir string) (*exec.Cmd, error) {
		cmd, err := dockerd(dir, dir)
		if err != nil {
			return nil, err
		}
		cmd.Args = append([]string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs keyway "$0" && exec "$@"`, hidden}, cmd.Args...)
		return cmd, nil
	})
}

func dockerd(dir, bin string) (*exec.Cmd, error) {
	config := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		return nil, err
	}
	// In a network namespace of its own, because two daemons would fight for the
	// bridge docker0: the one that starts removes or takes the other's.
	cmd := exec.Command("unshare", "--net", "--", "dockerd", "--config-file", config, "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "run"),
		"--pidfile", filepath.Join(dir, "dockerd.pid"), "--host", "unix://"+filepath.Join(dir, "engine.sock"),
		"--cgroup-parent", "/"+filepath.Base(dir),
		"--iptables=false", "--ip6tables=false", "--ip-masq=false", "--ip-forward=false")
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH")+":/usr/sbin:/sbin")
	return cmd, nil
}

// engineTimeout bounds the time until a daemon listens.
const engineTimeout = time.Minute

// startEngine starts the daemon that command makes, which listens on socket below
// its directory; end is the signal that ends it.
func startEngine(ctx context.Context, program, socket string, end syscall.Signal, command func(dir string) (*exec.Cmd, error)) (_ *ContainerEngine, err error) {
	if _, err := exec.LookPath(program); err != nil {
		return nil, fmt.Errorf("%s is not installed", program)
	}
	// Short, because sockets below it have a bounded length, and short-lived.
	dir, err := os.MkdirTemp("", "keyway-engine-")
	if err != nil {
		return nil, err
	}
	e := &ContainerEngine{Host: "unix://" + filepath.Join(dir, socket), dir: dir, log: filepath.Join(dir, "log")}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s does not come up: %w\n%s", program, err, tail(e.log)), e.Close())
		}
	}()
	cmd, err := command(dir)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(e.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if e.main, err = startChild(cmd, end); err != nil {
		return nil, err
	}
	return e, e.awaitSocket(ctx)
}

func (e *ContainerEngine) awaitSocket(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	path := strings.TrimPrefix(e.Host, "unix://")
	for {
		if conn, err := net.Dial("unix", path); err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.main.ended:
			return errors.New("it has ended")
		case <-time.After(20 * time.Millisecond): // no event reports a new socket
		}
	}
}

// Log returns what the daemon has printed.
func (e *ContainerEngine) Log() string { return tail(e.log) }

// Close ends the daemon, and with it its containers, and removes its files.
func (e *ContainerEngine) Close() error {
	if e.main != nil {
		e.main.stop()
	}
	killBelow(e.dir)
	unmountBelow(e.dir)
	return errors.Join(removeCgroups(filepath.Base(e.dir)), os.RemoveAll(e.dir))
}

// child is a process that ends with this one, however that ends.
type child struct {
	cmd   *exec.Cmd
	end   syscall.Signal
	ended chan struct{}
	once  sync.Once
}

func startChild(cmd *exec.Cmd, end syscall.Signal) (*child, error) {
	c := &child{cmd: cmd, end: end, ended: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: end}
	started := make(chan error, 1)
	// The kernel sends the signal when the thread that started the process ends,
	// so that thread stays for as long as the process.
	go func() {
		defer close(c.ended)
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	return c, <-started
}

// stop asks the process to end, and kills it if it does not.
func (c *child) stop() {
	c.once.Do(func() {
		_ = c.cmd.Process.Signal(c.end)
		select {
		case <-c.ended:
		case <-time.After(20 * time.Second):
			_ = c.cmd.Process.Kill()
			<-c.ended
		}
	})
}

// killBelow kills the processes whose command lines name dir: a daemon that was
// killed leaves its containers' keepers behind.
func killBelow(dir string) {
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range found {
		data, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(data), dir) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(path, "/proc/%d/", &pid); err == nil && pid != os.Getpid() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// unmountBelow unmounts all file systems below dir.
func unmountBelow(dir string) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return
	}
	lines := strings.Split(string(table), "\n")
	for i := range lines {
		if f := strings.Fields(lines[len(lines)-1-i]); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			_ = unix.Unmount(f[4], unix.MNT_DETACH)
		}
	}
}
