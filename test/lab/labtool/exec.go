//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// setpriv has the kernel kill a command together with us. The standard
// library's Pdeathsig cannot: in another pid namespace its child finds that its
// parent is not who it expected, and kills itself.
var setpriv = []string{"setpriv", "--pdeathsig", "KILL", "--"}

func runExec(args []string) error {
	before, argv, err := afterDashes(args)
	if err != nil || len(before) != 1 {
		return errors.New("exec wants: PID -- CMD [ARG]…")
	}
	pid, err := strconv.Atoi(before[0])
	if err != nil {
		return err
	}
	// Namespaces belong to threads: the child is forked from this one.
	runtime.LockOSThread()
	if err := enter(pid); err != nil {
		return fmt.Errorf("enter the host of process %d: %w", pid, err)
	}
	if dir := os.Getenv("LAB_DIR"); dir != "" {
		if err := os.Chdir(dir); err != nil {
			return err
		}
	}
	os.Unsetenv("LAB_DIR")
	argv = append(append([]string{}, setpriv...), argv...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return runForwarding(cmd)
}

// enter moves this thread into the namespaces of pid; for process ids, its
// children.
func enter(pid int) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // or the mount namespace cannot be joined
		return err
	}
	types := []string{"net", "uts", "ipc", "pid", "mnt"}
	fds := make([]int, len(types))
	for i, t := range types {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, t), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		fds[i] = fd
	}
	for i, fd := range fds {
		if err := unix.Setns(fd, 0); err != nil {
			return fmt.Errorf("%s: %w", types[i], err)
		}
	}
	return nil
}

// runForwarding runs cmd and passes signals on to it. It gets those of a terminal anyway,
// because it is in the same process group.
func runForwarding(cmd *exec.Cmd) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	if err := cmd.Start(); err != nil {
		return err
	}
	onTerminal := false
	if tty, err := os.Open("/dev/tty"); err == nil {
		tty.Close()
		onTerminal = true
	}
	// Ends with the process.
	go func() {
		for s := range signals {
			// The keyboard's signals reach cmd as well. That of a closed window reaches only this
			// process, which leads the terminal's session.
			if s == syscall.SIGTERM || s == syscall.SIGHUP || !onTerminal {
				_ = cmd.Process.Signal(s)
			}
		}
	}()
	return cmd.Wait()
}
