//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// startDocker starts a dockerd that is the GPU machine's own, on its
// /run/docker.sock, with images in it. On loopback there is only this
// machine's, if it runs.
func (l *Lab) startDocker(ctx context.Context, images []Image) error {
	if l.Mode == Loopback {
		if out, err := l.GPU.Output("docker", "version", "--format", "{{.Server.Version}}"); err != nil {
			return fmt.Errorf("no dockerd can be started without namespaces, and this machine's does not answer: %w %s", err, out)
		}
		l.onClose(l.removeImages)
		return l.makeImages(ctx, images)
	}
	for _, program := range []string{"dockerd", "docker", "containerd"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed", program)
		}
	}
	// Registered before dockerd, and so undone after it: cgroups outlive their processes.
	l.onClose(func() error { return removeCgroups(filepath.Base(l.dir)) })
	if err := l.StartDockerd(); err != nil {
		return err
	}
	l.onClose(func() error { l.StopDockerd(); return nil })
	return l.makeImages(ctx, images)
}

// StartDockerd starts the GPU machine's dockerd and returns when it answers.
func (l *Lab) StartDockerd() error {
	d, err := l.GPU.startDaemon("dockerd.log", "API listen on", "dockerd",
		"--data-root", "/srv/docker", "--exec-root", "/run/docker", "--pidfile", "/run/docker.pid", "--host", "unix:///run/docker.sock",
		"--cgroup-parent", "/"+filepath.Base(l.dir),
		// Containers here cannot reach other networks, and published ports work without rules.
		"--iptables=false", "--ip6tables=false", "--ip-masq=false", "--ip-forward=false")
	if err != nil {
		return err
	}
	l.docker = d
	return nil
}

// StopDockerd ends the GPU machine's dockerd, and with it its containers.
func (l *Lab) StopDockerd() {
	if l.docker != nil {
		l.docker.stop(syscall.SIGTERM)
		l.docker = nil
	}
}

// KillDockerd ends it without a warning. Its containers live on.
func (l *Lab) KillDockerd() {
	if l.docker != nil {
		l.docker.stop(syscall.SIGKILL)
		l.docker = nil
	}
}

// removeCgroups removes the control groups below the one of that name, in every
// hierarchy. The kernel empties a group a moment after its last process ended.
func removeCgroups(name string) error {
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) { // no event reports that a group can be removed
		if err = removeCgroupsOnce(name); err == nil {
			return nil
		}
	}
	return err
}

func removeCgroupsOnce(name string) error {
	tops, _ := filepath.Glob("/sys/fs/cgroup/*/" + name)
	if _, err := os.Stat("/sys/fs/cgroup/" + name); err == nil {
		tops = append(tops, "/sys/fs/cgroup/"+name)
	}
	var all error
	for _, top := range tops {
		var dirs []string
		_ = filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, p)
			}
			return nil
		})
		slices.Reverse(dirs)
		for _, dir := range dirs {
			if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, syscall.ENOENT) {
				all = errors.Join(all, fmt.Errorf("rmdir %s: %w", dir, err))
			}
		}
	}
	return all
}

// Docker runs the docker program on the GPU machine and returns its output
// without the last line's end.
func (l *Lab) Docker(args ...string) (string, error) {
	out, err := l.GPU.Output("docker", args...)
	return strings.TrimSpace(out), err
}
