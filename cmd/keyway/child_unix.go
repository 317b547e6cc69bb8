//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"keyway/internal/screen"
	"keyway/internal/typeahead"
)

// runChild runs ssh for the user, on the user's terminal, and returns its exit code. If a signal
// that also came to this process ended ssh, the code is 128 plus the signal's number. If another
// signal did, the error is an errKilled. With terminal set, ssh's output is that of a terminal
// session, and the terminal's modes are restored however ssh ends.
func runChild(cmd *exec.Cmd, terminal bool, out, errs io.Writer) (int, error) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, out, errs
	if !terminal {
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		last := passOn(signals, cmd.Process)
		err := cmd.Wait()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			return 0, err
		}
		return codeOf(cmd.ProcessState.Sys().(syscall.WaitStatus), last(), signals)
	}
	k := &keeper{in: os.Stdin, out: out}
	if err := k.start(cmd); err != nil {
		return 0, err
	}
	last := passOn(signals, cmd.Process)
	status := k.wait(cmd.Process.Pid)
	return codeOf(status, last(), signals)
}

// passOn forwards the signals of this process to another process until stop is called, which
// returns the last one. The other process gets signals of the keyboard twice, which does no harm.
func passOn(signals <-chan os.Signal, p *os.Process) (stop func() (last os.Signal)) {
	over := make(chan struct{})
	var done sync.WaitGroup
	var last os.Signal
	done.Go(func() {
		for {
			select {
			case last = <-signals:
				_ = p.Signal(last)
			case <-over:
				return
			}
		}
	})
	return func() os.Signal {
		close(over)
		done.Wait()
		return last
	}
}

// signalDelay is the time that the Go runtime gets to deliver a signal which has already ended
// another process.
const signalDelay = 100 * time.Millisecond

// codeOf returns the exit code of an ssh that has ended. ssh catches most signals and then exits
// as if the connection had failed; so if this process has passed a signal on, last, the code is
// that signal's. An ssh that another signal has killed, as when memory ran out, has no exit code
// that says anything about the job.
func codeOf(status syscall.WaitStatus, last os.Signal, signals <-chan os.Signal) (int, error) {
	if !status.Signaled() && status.ExitStatus() != sshFailed {
		return status.ExitStatus(), nil
	}
	if status.Signal() == syscall.SIGPIPE {
		return int(brokenPipe), nil
	}
	if last == nil {
		select {
		case last = <-signals:
		case <-time.After(signalDelay):
		}
	}
	if s, ok := last.(syscall.Signal); ok {
		return 128 + int(s), nil
	}
	if status.Signaled() {
		return sshFailed, errKilled{unix.SignalName(status.Signal())}
	}
	return sshFailed, nil
}

// keeper copies a program's output to a terminal, and restores the terminal's modes even if the
// connection or the program is killed.
type keeper struct {
	in    *os.File
	out   io.Writer
	state *term.State
	pipe  *os.File
	copy  sync.WaitGroup

	mu    sync.Mutex
	shown *screen.Screen
}

// lastWords bounds the wait for output after the program's end: a process that it started may
// hold the output open.
const lastWords = 200 * time.Millisecond

func (k *keeper) start(cmd *exec.Cmd) error {
	state, err := term.GetState(int(k.in.Fd()))
	if err != nil {
		return err
	}
	k.state = state
	cols, rows, err := term.GetSize(int(k.in.Fd()))
	if err != nil {
		return err
	}
	k.shown = screen.New(cols, rows, screen.Options{Lines: -1})
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		r.Close()
		return err
	}
	k.pipe = r
	k.copy.Go(func() { _, _ = io.Copy(k, r) })
	return nil
}

// Write writes output to the terminal.
func (k *keeper) Write(p []byte) (int, error) {
	k.mu.Lock()
	_, _ = k.shown.Write(p)
	k.shown.Answers()
	k.mu.Unlock()
	return k.out.Write(p)
}

// wait waits for the end of the program.
func (k *keeper) wait(pid int) syscall.WaitStatus {
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	var sizes sync.WaitGroup
	sizes.Go(func() {
		for range resized {
			k.resize()
		}
	})
	status := k.await(pid)
	_ = k.pipe.SetReadDeadline(time.Now().Add(lastWords))
	k.copy.Wait()
	k.pipe.Close()
	signal.Stop(resized)
	close(resized)
	sizes.Wait()
	k.restore()
	return status
}

// await waits for the end of the program. When the user suspends ssh with ~^Z, it suspends this
// process, too.
func (k *keeper) await(pid int) (status syscall.WaitStatus) {
	for {
		_, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err == nil && status.Stopped():
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
			_ = syscall.Kill(pid, syscall.SIGCONT)
		default:
			return status
		}
	}
}

func (k *keeper) resize() {
	if cols, rows, err := term.GetSize(int(k.in.Fd())); err == nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.shown.Resize(cols, rows)
	}
}

// restore undoes the modes that the output has left switched on. It discards input that was typed
// for the program and not read by it, so that the rest of a pasted text does not run as commands
// in the user's shell.
func (k *keeper) restore() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if undo := k.shown.Undo(nil); len(undo) > 0 {
		_, rows := k.shown.Size()
		undo = fmt.Appendf(append(undo, screen.Rest...), "\x1b[%d;1H\r\n", rows)
		if k.out != io.Writer(os.Stdout) { // it may drop the bytes that it holds back, and these with them
			_, _ = os.Stdout.Write(undo)
		}
		_, _ = k.out.Write(undo)
	}
	if _, err := term.MakeRaw(int(k.in.Fd())); err == nil {
		new(typeahead.Marks).Discard(k.in, k.out, 0)
	}
	_ = term.Restore(int(k.in.Fd()), k.state)
}

// unread reports whether f is a pipe or a socket whose reader has gone.
func unread(f *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLOUT}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}
