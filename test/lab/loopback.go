//go:build linux

package lab

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Without namespaces the hosts are sshds on two ports of 127.0.0.1 and three
// home directories. OpenSSH takes the home directory from passwd, not from
// HOME, so the laptop's clients are given their files by name, and a login
// begins with a script that sets HOME.

// envHost marks the processes of a host, which has no first process that would end the others with
// it.
const envHost = "KEYWAY_LAB_HOST"

func (l *Lab) startLoopback() error {
	for _, h := range []struct {
		host **Host
		name string
	}{{&l.Laptop, "laptop"}, {&l.Bastion, "bastion"}, {&l.GPU, "gpu1"}} {
		host, err := l.loopbackHost(h.name)
		if err != nil {
			return l.errorf("%s: %w", h.name, err)
		}
		*h.host = host
	}
	return nil
}

func (l *Lab) loopbackHost(name string) (*Host, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	h := &Host{Name: name, Address: "127.0.0.1", Port: port, lab: l, dir: filepath.Join(l.dir, name)}
	if err := h.makeOwnDirs(); err != nil {
		return nil, err
	}
	u := currentUser()
	search := path
	if name == "laptop" {
		search = h.Path("/srv/bin") + ":" + l.Bin + ":" + path
	}
	h.env = []string{"PATH=" + search, "HOME=" + h.Path("/root"), "USER=" + u, "LOGNAME=" + u, "LANG=C.UTF-8", "SHELL=/bin/bash",
		"TERM=xterm-256color", "TMPDIR=" + h.Path("/tmp"), "XDG_RUNTIME_DIR=" + h.Path("/srv/run"), envHost + "=" + h.dir}
	l.onClose(h.killAll)
	// Sockets of our own, because this machine's user may run keyway.
	if err := os.Mkdir(h.Path("/srv/run"), 0o700); err != nil {
		return nil, err
	}
	return h, h.writeWrappers()
}

// writeWrappers writes the laptop's ssh, scp and sftp, and the others' login.
func (h *Host) writeWrappers() error {
	if h.Name != "laptop" {
		return h.WriteFile("/srv/login", fmt.Sprintf(`#!/bin/sh
export HOME=%[1]s TMPDIR=%[2]s XDG_RUNTIME_DIR=%[5]s %[3]s=%[4]s
cd
[ -z "$SSH_ORIGINAL_COMMAND" ] || exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
exec /bin/bash -l
`, h.Path("/root"), h.Path("/tmp"), envHost, h.dir, h.Path("/srv/run")), 0o755)
	}
	var err error
	for _, name := range []string{"ssh", "scp", "sftp"} {
		program, lookErr := exec.LookPath(name)
		if lookErr != nil {
			return lookErr
		}
		more := ""
		if name != "ssh" {
			more = " -S " + h.Path("/srv/bin/ssh")
		}
		err = errors.Join(err, h.WriteFile("/srv/bin/"+name,
			fmt.Sprintf("#!/bin/sh\nexec %s -F %s%s \"$@\"\n", program, h.Path("/root/.ssh/config"), more), 0o755))
	}
	return err
}

// loopbackConfig names the files that ssh would look for in another home directory.
func (l *Lab) loopbackConfig() string {
	if l.Mode != Loopback {
		return ""
	}
	return fmt.Sprintf("\nHost *\n  IdentityFile %s\n  UserKnownHostsFile %s\n",
		l.Laptop.Path(keyFile), l.Laptop.Path("/root/.ssh/known_hosts"))
}

// freePort returns a free port that the system assigns to no socket by itself, so that it stays
// free until it is used.
func freePort() (int, error) {
	for {
		port := 10_000 + rand.IntN(20_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return 0, err
		}
		return port, l.Close()
	}
}

func currentUser() string {
	u, err := user.Current()
	if err != nil {
		return "root"
	}
	return u.Username
}

// marked reports whether pid carries the host's mark.
func (h *Host) marked(pid int) bool {
	env, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return false
	}
	for _, kv := range bytes.Split(env, []byte{0}) {
		if string(kv) == envHost+"="+h.dir {
			return true
		}
	}
	return false
}

// killAll ends everything that carries the host's mark.
func (h *Host) killAll() error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		var pids []int
		entries, _ := os.ReadDir("/proc")
		for _, e := range entries {
			if pid, err := strconv.Atoi(e.Name()); err == nil && h.marked(pid) {
				pids = append(pids, pid)
			}
		}
		if len(pids) == 0 {
			return nil
		}
		if err := Kill(syscall.SIGKILL, pids...); err != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond) // they are not our children: no event reports their end
	}
	return fmt.Errorf("lab: processes of %s do not end", h.Name)
}
