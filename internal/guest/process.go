//go:build linux

package guest

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// process is a program that a session channel runs, on pipes or a terminal. It may outlive
// the channel, the connection and the guest.
type process struct {
	cmd     *exec.Cmd
	stdin   *os.File
	outputs []*output
	term    *terminal     // nil: pipes
	exited  chan struct{} // closed when the program has exited; state is set then
	state   *os.ProcessState
}

// startPiped starts cmd with a pipe for each of its standard streams.
func startPiped(cmd *exec.Cmd, stdout, stderr io.Writer) (*process, error) {
	var ours, theirs [3]*os.File
	for i := range ours {
		r, w, err := os.Pipe()
		if err != nil {
			closeFiles(ours[:i])
			closeFiles(theirs[:i])
			return nil, err
		}
		if i == 0 {
			theirs[i], ours[i] = r, w
		} else {
			ours[i], theirs[i] = r, w
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	err := cmd.Start()
	closeFiles(theirs[:])
	if err != nil {
		closeFiles(ours[:])
		return nil, err
	}
	return newProcess(cmd, &process{stdin: ours[0], outputs: []*output{
		newOutput(ours[1], stdout), newOutput(ours[2], stderr),
	}}), nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// startOnTerminal starts cmd as the leader of the terminal's process session.
func startOnTerminal(cmd *exec.Cmd, term *terminal, slave *os.File, out io.Writer) (*process, error) {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr.Setctty = true
	err := cmd.Start()
	slave.Close()
	if err != nil {
		return nil, err
	}
	o := newOutput(term.master, out)
	o.endsWithProcess = true
	return newProcess(cmd, &process{stdin: term.master, outputs: []*output{o}, term: term}), nil
}

func newProcess(cmd *exec.Cmd, p *process) *process {
	p.cmd = cmd
	p.exited = make(chan struct{})
	// This goroutine is not waited for. It ends with the program, which is the user's and may run
	// for weeks after the rest of the channel is gone.
	go p.reap()
	return p
}

func (p *process) reap() {
	_ = p.cmd.Wait() // state has all that the error would say
	p.state = p.cmd.ProcessState
	for _, o := range p.outputs {
		o.processExited()
	}
	close(p.exited)
}

// signal sends sig to the program's process group; on a terminal, to the foreground group,
// as a key on that terminal would.
func (p *process) signal(sig unix.Signal) error {
	select {
	case <-p.exited: // its pid may belong to another process by now
		return unix.ESRCH
	default:
	}
	group := p.cmd.Process.Pid
	if p.term != nil {
		if fg, err := p.term.foreground(); err == nil && fg > 0 {
			group = fg
		}
	}
	return unix.Kill(-group, sig)
}

// hangUp closes the client's ends. The kernel tells the programs: by SIGHUP on a terminal,
// on pipes at their next read or write.
func (p *process) hangUp() {
	p.stdin.Close()
	for _, o := range p.outputs {
		o.src.Close()
	}
}

// output copies a program's output to a channel.
type output struct {
	src *os.File
	dst io.Writer
	// endsWithProcess: after the program has exited, nothing that other processes write is
	// read. That is the case on a terminal, which ends with its session's leader.
	endsWithProcess bool
	first           func() // called before the first byte is sent; may be nil

	once    sync.Once
	drained chan struct{} // closed when all that the program wrote has been copied
}

func newOutput(src *os.File, dst io.Writer) *output {
	return &output{src: src, dst: dst, drained: make(chan struct{})}
}

// processExited makes a blocked copy check for remaining bytes. It must be called once, after the
// program has exited, when all its output is in the kernel.
func (o *output) processExited() { _ = o.src.SetReadDeadline(time.Unix(1, 0)) }

// copy returns when no more bytes can come, or the reader has gone. It then closes src, so that a
// program that still writes learns of it.
func (o *output) copy() {
	defer o.src.Close()
	defer o.markDrained()
	b := buffers.Get()
	defer buffers.Put(b)
	buf := *b
	for {
		n, err := o.src.Read(buf)
		if n > 0 {
			if o.first != nil {
				o.first()
				o.first = nil
			}
			if _, err := o.dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = o.drain(buf)
		}
		if err != nil { // io.EOF, EIO of a terminal, or closed
			return
		}
	}
}

var errProcessEnded = errors.New("the process has ended")

// drain copies the bytes that are there now. The exit status may be sent after that, even
// if a background process keeps src open.
func (o *output) drain(buf []byte) error {
	_ = o.src.SetReadDeadline(time.Time{})
	for {
		n, err := readNow(o.src, buf)
		if errors.Is(err, unix.EAGAIN) {
			o.markDrained()
			if o.endsWithProcess {
				return errProcessEnded
			}
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := o.dst.Write(buf[:n]); err != nil {
			return err
		}
	}
}

func (o *output) markDrained() { o.once.Do(func() { close(o.drained) }) }

// readNow reads without waiting. It returns EAGAIN if there is nothing to read. FIONREAD
// would not do: a terminal processes written bytes only when they are read.
func readNow(f *os.File, buf []byte) (n int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	outer := raw.Read(func(fd uintptr) bool {
		for {
			n, err = unix.Read(int(fd), buf)
			if !errors.Is(err, unix.EINTR) {
				return true
			}
		}
	})
	switch {
	case outer != nil:
		return 0, outer
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
