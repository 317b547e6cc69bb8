//go:build linux

package lab

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"keyway/test/lab/labtool/config"
)

// ownDirs are the directories of which each host has its own, empty, on the
// disk of this machine.
var ownDirs = []string{"/root", "/home", "/tmp", "/var/tmp", "/srv"}

// The addresses are on the hosts' loopback devices, so that routes to them may
// go over one line or another.
const (
	laptopAddress  = "10.77.0.1"
	bastionAddress = "10.77.0.2"
	gpuAddress     = "10.77.0.3"
)

const path = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"

// startNamespaces starts the three hosts and joins them: laptop, bastion, GPU
// machine, in a row.
func (l *Lab) startNamespaces() error {
	var err error
	if l.Laptop, err = l.startHost("laptop", laptopAddress); err != nil {
		return err
	}
	if l.Bastion, err = l.startHost("bastion", bastionAddress); err != nil {
		return err
	}
	if l.GPU, err = l.startHost("gpu1", gpuAddress); err != nil {
		return err
	}
	if err := l.connect(l.Laptop, l.Bastion); err != nil {
		return err
	}
	return l.connect(l.Bastion, l.GPU)
}

func (l *Lab) startHost(name, address string) (*Host, error) {
	h := &Host{Name: name, Address: address, Port: 22, lab: l, dir: filepath.Join(l.dir, name)}
	if err := h.makeOwnDirs(); err != nil {
		return nil, err
	}
	if err := h.startInit(); err != nil {
		return nil, l.errorf("%s: %w", name, err)
	}
	h.enter = []string{l.tool(), "exec", strconv.Itoa(h.pid), "--"}
	h.env = []string{"PATH=" + path, "HOME=/root", "USER=root", "LOGNAME=root", "LANG=C.UTF-8", "SHELL=/bin/bash", "TERM=xterm-256color", "LAB_DIR=/root"}
	if _, err := h.Output("ip", "link", "set", "lo", "up"); err != nil {
		return nil, err
	}
	_, err := h.Output("ip", "address", "add", address+"/32", "dev", "lo")
	return h, err
}

func (l *Lab) tool() string { return filepath.Join(l.Bin, "labtool") }

func (h *Host) makeOwnDirs() error {
	for _, d := range ownDirs {
		if err := os.MkdirAll(filepath.Join(h.dir, d), 0o755); err != nil {
			return err
		}
	}
	for d, perm := range map[string]os.FileMode{"/root": 0o700, "/tmp": os.ModeSticky | 0o777, "/var/tmp": os.ModeSticky | 0o777} {
		if err := os.Chmod(filepath.Join(h.dir, d), perm); err != nil {
			return err
		}
	}
	return errors.Join(os.MkdirAll(filepath.Join(h.dir, "etc"), 0o700), os.MkdirAll(filepath.Join(h.dir, "bin"), 0o700))
}

// startInit starts the host's first process and waits until its mounts are
// made.
func (h *Host) startInit() error {
	c, err := json.Marshal(config.Init{Hostname: h.Name, Mounts: h.mounts()})
	if err != nil {
		return err
	}
	cmd := exec.Command(h.lab.tool(), "init", string(c))
	cmd.Env = []string{"PATH=" + path}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Setpgid:    true,
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := startReady(cmd); err != nil {
		return err
	}
	h.pid = cmd.Process.Pid
	h.lab.onClose(func() error {
		err := stdin.Close() // the host ends with its first process, and that with this
		return errors.Join(err, cmd.Wait())
	})
	return nil
}

func (h *Host) mounts() []config.Mount {
	mounts := []config.Mount{
		{Type: "proc", Target: "/proc"},
		{Type: "tmpfs", Target: "/run", Data: "mode=0755"},
		{Type: "tmpfs", Target: "/dev/shm", Data: "mode=1777"},
		{Type: "overlay", Source: filepath.Join(h.dir, "etc"), Target: "/etc"},
	}
	if h.Name == "laptop" {
		mounts = append(mounts, config.Mount{Type: "bind", Source: h.lab.Bin, Target: "/usr/local/bin"})
	} else {
		mounts = append(mounts, config.Mount{Type: "overlay", Source: filepath.Join(h.dir, "bin"), Target: "/usr/local/bin"})
	}
	// /tmp last: it may hide the lab's directory.
	for _, d := range []string{"/root", "/home", "/srv", "/var/tmp", "/tmp"} {
		mounts = append(mounts, config.Mount{Type: "bind", Source: filepath.Join(h.dir, d), Target: d})
	}
	return mounts
}

// startReady starts one of our helpers, and waits until it prints "ready".
func startReady(cmd *exec.Cmd) error {
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if line == "ready\n" {
		return nil
	}
	waitErr := cmd.Wait()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if strings.Contains(stderr.String(), "operation not permitted") || strings.Contains(stderr.String(), "permission denied") {
		err = syscall.EPERM
	}
	return fmt.Errorf("%s: %w", strings.TrimSpace(stderr.String()), errors.Join(err, waitErr))
}
