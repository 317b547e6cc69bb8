//go:build linux

package lab

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Host is one machine of the lab.
type Host struct {
	Name    string
	Address string // where its sshd listens
	Port    int
	lab     *Lab
	dir     string   // holds its own part of the file system
	enter   []string // the words before a command that run it there
	pid     int      // of its first process; 0 on loopback
	env     []string
	sshd    *daemon
}

// Command prepares name to be run on the host, with a clean environment, in
// /root. Killing it kills the command.
func (h *Host) Command(name string, args ...string) *exec.Cmd {
	argv := append(append([]string{}, h.enter...), name)
	argv = append(argv, args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	if cmd.Err == nil || len(h.enter) == 0 {
		cmd.Err = nil
		cmd.Path = h.lookPath(argv[0])
	}
	cmd.Env = append([]string{}, h.env...)
	if len(h.enter) == 0 {
		cmd.Dir = h.Path("/root")
	}
	return cmd
}

// lookPath finds name as the host would: on loopback its own programs come
// first.
func (h *Host) lookPath(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	for _, kv := range h.env {
		if dirs, ok := strings.CutPrefix(kv, "PATH="); ok {
			for _, dir := range filepath.SplitList(dirs) {
				if p := filepath.Join(dir, name); executable(p) {
					return p
				}
			}
		}
	}
	return name
}

func executable(p string) bool {
	st, err := os.Stat(p)
	return err == nil && !st.IsDir() && st.Mode()&0o111 != 0
}

// Output runs a command on the host and returns its standard output. The error has its standard
// error.
func (h *Host) Output(name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := h.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %s %s: %w: %s", h.Name, name, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

// Path returns the path of the host's file p on this machine, while the host runs.
func (h *Host) Path(p string) string {
	if h.pid != 0 {
		return filepath.Join("/proc", strconv.Itoa(h.pid), "root", p)
	}
	for _, own := range ownDirs {
		if p == own || strings.HasPrefix(p, own+"/") {
			return filepath.Join(h.dir, p)
		}
	}
	return p
}

// WriteFile writes a file on the host, and the directories above it.
func (h *Host) WriteFile(p, content string, perm os.FileMode) error {
	p = h.Path(p)
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(p, []byte(content), perm); err != nil {
		return err
	}
	return os.Chmod(p, perm)
}

// ReadFile reads a file of the host.
func (h *Host) ReadFile(p string) (string, error) {
	data, err := os.ReadFile(h.Path(p))
	return string(data), err
}

// Processes returns the ids, as this machine counts, of the host's processes of
// that name (the kernel's, at most 15 bytes), without those in its containers.
func (h *Host) Processes(name string) []int {
	return h.ProcessesThat(func(comm string) bool { return comm == name })
}

// ProcessesThat returns the host's own processes with such a name.
func (h *Host) ProcessesThat(is func(name string) bool) []int {
	return slices.DeleteFunc(h.processes(is), func(pid int) bool {
		return h.pid != 0 && pidNamespace(pid) != pidNamespace(h.pid)
	})
}

// ProcessesInside returns the host's processes of that name with those in its
// containers.
func (h *Host) ProcessesInside(name string) []int {
	return h.processes(func(comm string) bool { return comm == name })
}

func (h *Host) processes(is func(name string) bool) []int {
	var found []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || !h.owns(pid) {
			continue
		}
		comm, err := os.ReadFile(filepath.Join("/proc", e.Name(), "comm"))
		if err == nil && is(strings.TrimSuffix(string(comm), "\n")) {
			found = append(found, pid)
		}
	}
	return found
}

// owns reports whether pid is a process of the host.
func (h *Host) owns(pid int) bool {
	if h.pid == 0 {
		return h.marked(pid) || h.sshd != nil && descends(pid, h.sshd.pid())
	}
	mine := pidNamespace(h.pid)
	for mine != "" && pid > 1 {
		if pidNamespace(pid) == mine {
			return true
		}
		pid = parent(pid) // in a container of the host
	}
	return false
}

func pidNamespace(pid int) string {
	link, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	return link
}

// descends reports whether pid is ancestor or was started by it or its children.
func descends(pid, ancestor int) bool {
	for pid > 1 {
		if pid == ancestor {
			return true
		}
		pid = parent(pid)
	}
	return false
}

func parent(pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// pid (name) state ppid …; the name may hold anything.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(fields[1])
	return ppid
}

// daemon is a program that runs on a host until it is stopped.
type daemon struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and its output is in the log
}

// startDaemon runs a program on h, its output in a log file of the lab, and
// returns when it has printed a line that holds ready.
func (h *Host) startDaemon(logName, ready, name string, args ...string) (*daemon, error) {
	log, err := os.OpenFile(filepath.Join(h.lab.dir, logName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		log.Close()
		return nil, err
	}
	d := &daemon{cmd: h.Command(name, args...), done: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = w, w
	// Not in our process group: a terminal's Ctrl-C is for us to handle.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = d.cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		log.Close()
		return nil, err
	}
	isReady := make(chan struct{})
	go d.follow(r, log, ready, isReady)
	select {
	case <-isReady:
		return d, nil
	case <-d.done:
		return nil, fmt.Errorf("%s: %s ended: %s", h.Name, name, tail(log.Name()))
	case <-time.After(time.Minute):
		d.stop(syscall.SIGKILL)
		return nil, fmt.Errorf("%s: %s is not ready after a minute: %s", h.Name, name, tail(log.Name()))
	}
}

// follow copies the daemon's output to its log until the daemon ends.
func (d *daemon) follow(r io.ReadCloser, log *os.File, ready string, isReady chan<- struct{}) {
	ended := make(chan struct{})
	go func() {
		_ = d.cmd.Wait()
		close(ended)
	}()
	lines := make(chan struct{})
	go func() {
		defer close(lines)
		s := bufio.NewScanner(r)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			fmt.Fprintln(log, s.Text())
			if isReady != nil && strings.Contains(s.Text(), ready) {
				close(isReady)
				isReady = nil
			}
		}
	}()
	<-ended
	// Its children may hold the other end after its end.
	r.Close()
	<-lines
	log.Close()
	close(d.done)
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// stop sends a signal and waits for the end.
func (d *daemon) stop(s syscall.Signal) {
	_ = d.cmd.Process.Signal(s)
	select {
	case <-d.done:
	case <-time.After(10 * time.Second):
		_ = d.cmd.Process.Kill()
		<-d.done
	}
}

func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-2000):])
}

// Kill sends a signal to processes of this machine, by id.
func Kill(s syscall.Signal, pids ...int) error {
	var err error
	for _, pid := range pids {
		if killErr := syscall.Kill(pid, s); killErr != nil && !errors.Is(killErr, syscall.ESRCH) {
			err = errors.Join(err, fmt.Errorf("kill %d: %w", pid, killErr))
		}
	}
	return err
}
