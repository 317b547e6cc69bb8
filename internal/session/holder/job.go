//go:build linux

package holder

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/pipe"
	"keyway/internal/pty"
	"keyway/internal/session/wire"
)

// Exit codes that shells use for commands that could not be started.
const (
	codeNotFound    = 127
	codeNotRunnable = 126
)

// job is the started command with its terminal or pipes.
type job struct {
	pid   int
	tty   bool
	input *os.File // the job's input; the terminal if it has one
	outs  []source // its outputs
	// poller waits for the outputs; nil: a terminal, which the runtime polls.
	poller *poller
	// slave keeps the job's terminal open while the job lives: the kernel hangs up a terminal that
	// no process has open, even if the job is about to open it again.
	slave *os.File
	// mu guards input against use after close: a viewer may still send input.
	mu     sync.Mutex
	closed bool
}

// source is one of the job's outputs, as the holder reads it.
type source struct {
	stream wire.Stream
	f      *os.File
	fd     int // f's, of a pipe, which is open until the output has ended
}

// startJob starts o.command in the holder's working directory with the holder's environment, as
// leader of a process session of its own.
func startJob(o Options) (*job, error) {
	program, err := lookUp(o.Command[0])
	if err != nil {
		return nil, err
	}
	if o.TTY {
		return startOnTerminal(program, o)
	}
	return startOnPipes(program, o)
}

// lookUp finds the program as a shell does.
func lookUp(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil || errors.Is(err, exec.ErrDot) { // a user with . in PATH intends it
		return path, nil
	}
	return "", notStarted(name, err)
}

// notStarted words the reason for which a command could not be started, and adds the exit code that
// a shell gives.
func notStarted(name string, err error) *StartError {
	code, why := codeNotRunnable, err
	var path *fs.PathError
	if errors.As(err, &path) {
		why = path.Err
	}
	var lookup *exec.Error
	if errors.As(err, &lookup) {
		why = lookup.Err
	}
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return &StartError{codeNotFound, name + ": command not found"}
	case errors.Is(err, fs.ErrNotExist):
		code = codeNotFound
	}
	return &StartError{code, name + ": " + why.Error()}
}

// StartError is the reason for which a job did not start.
type StartError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *StartError) Error() string { return e.Message }

func startOnPipes(program string, o Options) (*job, error) {
	inR, inW, err := o.stdin()
	if err != nil {
		return nil, err
	}
	defer inR.Close()
	out, outW, err := openPipe(wire.Stdout)
	if err != nil {
		closeAll(inW)
		return nil, err
	}
	defer outW.Close()
	errs, errW, err := openPipe(wire.Stderr)
	if err != nil {
		closeAll(inW, out.f)
		return nil, err
	}
	defer errW.Close()
	pipe.Widen(pipe.Wide, out.f, errs.f)
	if o.Awaited {
		pipe.Widen(pipe.Widest, out.f)
	}
	outs := []source{out, errs}
	poller, err := newPoller(outs)
	if err != nil {
		closeAll(inW, out.f, errs.f)
		return nil, err
	}
	pid, err := o.exec(program, []uintptr{inR.Fd(), outW.Fd(), errW.Fd()}, &syscall.SysProcAttr{Setsid: true})
	if err != nil {
		closeAll(inW, out.f, errs.f)
		return nil, err
	}
	return &job{pid: pid, input: inW, closed: inW == nil, outs: outs, poller: poller}, nil
}

// stdin makes the job's input: a pipe, or nothing if the job starts without input.
func (o Options) stdin() (r, w *os.File, err error) {
	if o.NoInput {
		r, err = os.Open(os.DevNull)
		return r, nil, err
	}
	return os.Pipe()
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

func startOnTerminal(program string, o Options) (*job, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, keyway.Errorf(keyway.Other, "no terminal can be made in this workspace: %w", err).
			Advise(keyway.WithoutTerminal)
	}
	setWindow(master, o.Window)
	setLine(master, o.Erase)
	fd := slave.Fd()
	pid, err := o.exec(program, []uintptr{fd, fd, fd}, &syscall.SysProcAttr{Setsid: true, Setctty: true})
	if err != nil {
		closeAll(master, slave)
		return nil, err
	}
	return &job{pid: pid, tty: true, input: master, outs: []source{{stream: wire.TTY, f: master}}, slave: slave}, nil
}

// holdOn opens the job's terminal, as startOnTerminal does, for a holder that has been renewed.
// Where it cannot be opened, a job that closes its terminal loses it.
func (j *job) holdOn() {
	if j.tty {
		control(j.input, func(fd int) { j.slave, _ = pty.Peer(fd) })
	}
}

// letGo closes the slave, so that the holder sees when the last other process closes the job's
// terminal.
func (j *job) letGo() { closeAll(j.slave) }

// exec starts the program. It does not use os/exec: the holder reaps all its children itself (see
// reap).
func (o Options) exec(program string, files []uintptr, sys *syscall.SysProcAttr) (int, error) {
	argv := append([]string(nil), o.Command...)
	if o.Login {
		argv[0] = "-" + filepath.Base(argv[0])
	}
	pid, err := syscall.ForkExec(program, argv, &syscall.ProcAttr{Env: o.environment(), Files: files, Sys: sys})
	if err != nil {
		return 0, notStarted(o.Command[0], err)
	}
	return pid, nil
}

// write passes a viewer's input on. It blocks while the job does not read, up to the write
// deadline. n is the number of bytes that the job has got.
func (j *job) write(p []byte) (n int, err error) {
	if j.input == nil {
		return 0, os.ErrClosed
	}
	return j.input.Write(p)
}

// setWriteDeadline interrupts write; the zero time removes the deadline.
func (j *job) setWriteDeadline(at time.Time) {
	if j.input != nil {
		_ = j.input.SetWriteDeadline(at) // a closed one is not written to
	}
}

// tryWrite is write, but drops bytes for which the job's terminal has no room.
func (j *job) tryWrite(p []byte) {
	control(j.input, func(fd int) { _, _ = unix.Write(fd, p) })
}

// interruptible reports whether Ctrl-C on the job's terminal would interrupt the job itself. It
// would not if the job reads every key or is a shell that runs another program.
func (j *job) interruptible() bool {
	if !j.tty || foreground(j.input) != j.pid {
		return false
	}
	const cooked = unix.ICANON | unix.ISIG
	is := false
	control(j.input, func(fd int) {
		t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		is = err == nil && t.Lflag&cooked == cooked
	})
	return is
}

func (j *job) closeInput() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed {
		j.closed = true
		j.input.Close()
	}
}

// signal sends sig to the processes that a key would send it to: the terminal's foreground group,
// or the job's own group.
func (j *job) signal(sig unix.Signal) {
	group := j.pid
	if j.tty {
		if g := foreground(j.input); g > 0 {
			group = g
		}
	}
	_ = unix.Kill(-group, sig)
}

func foreground(master *os.File) int {
	group := 0
	control(master, func(fd int) {
		group, _ = unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	})
	return group
}

// control calls use with f's descriptor. (f.Fd would make f blocking.)
func control(f *os.File, use func(fd int)) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { use(int(fd)) })
	}
}
