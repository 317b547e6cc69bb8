//go:build linux

package holder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/proctree"
	"keyway/internal/session"
	"keyway/internal/session/joblog"
	"keyway/internal/session/wire"
)

// A holder lives as long as its job, so its version may become obsolete. It is renewed by executing
// the new program. The descriptors of the job, the lock and the socket are inherited; the state is
// handed over in a memfd. The job does not notice. Viewers connect again, and input that they sent
// before reaches the job.

const (
	// handoverVersion is the version of the handover's format. A program with another version is
	// not executed.
	handoverVersion = 1
	maxHandover     = 64 << 20
)

// handover is the state that a holder passes to its successor, the same process.
type handover struct {
	Started  time.Time
	Cwd      string
	OOMKills uint64
	Job      int // pid
	Closed   bool
	Input    int // descriptors; -1: none
	Outs     []int
	Streams  []wire.Stream // of Outs
	Listener int
	Window   [2]uint16 // rows, columns
	End      uint64    // of the log
	Lost     uint64
	LogError string
	Screen   []byte // bytes that bring a screen to the display's state
	At       uint64 // at this offset
	Left     []leftViewer
	Paste    *leftPaste
	Gone     []leftPaste
}

// leftViewer is a viewer that is shown nothing any more, and the state of its input.
type leftViewer struct {
	Conn   int    // descriptor
	Flags  byte   // from its hello
	Unsent []byte // input that the job has not got
	Unread []byte // start of an incomplete frame
	Waits  bool   // the job waits for it
	At     uint64 // offset that it has read to
}

// renew replaces this program by another. It returns only if that fails; everything is then as
// before, except that viewers have to connect again.
func (h *holder) renew(program string) error {
	if err := understands(program); err != nil {
		return err
	}
	h.gate.Lock() // from here on, nothing is read from the job, and its end is not collected
	defer h.gate.Unlock()
	if h.over {
		return errEnding
	}
	var s handover
	if err := h.output.handOver(&s); err != nil {
		return err
	}
	held := h.viewers.hold() // viewers notice
	defer h.viewers.goOn(held)
	if h.isEnding() {
		return errEnding
	}
	passed := &passing{}
	defer passed.close()
	h.handOver(&s, passed)
	h.viewers.handOver(&s, passed, held)
	state, err := s.file()
	if err != nil {
		return err
	}
	o := h.options
	o.resume = passed.add(state)
	state.Close()
	lock, err := unix.FcntlInt(fdLock, unix.F_GETFD, 0)
	if err == nil {
		_, err = unix.FcntlInt(fdLock, unix.F_SETFD, lock&^unix.FD_CLOEXEC)
	}
	if err = errors.Join(err, passed.err); err == nil {
		err = syscall.Exec(program, append([]string{keyway.GuestProgram, session.HolderWord}, o.args()...), os.Environ())
	}
	unix.CloseOnExec(fdLock)
	return err
}

var errEnding = errors.New("the session is ending")

// handOver writes the state that the successor needs.
func (h *holder) handOver(s *handover, passed *passing) {
	s.Started, s.Cwd, s.OOMKills = h.started, h.cwd, h.oomKills
	s.Job, s.Closed, s.Input = h.job.pid, h.job.closed, passed.add(h.job.input)
	for _, out := range h.job.outs {
		fd := s.Input
		if out.f != h.job.input {
			fd = passed.add(out.f)
		}
		s.Outs, s.Streams = append(s.Outs, fd), append(s.Streams, out.stream)
	}
	s.Listener = passed.add(h.listener)
}

// file writes s to a memfd.
func (s handover) file() (*os.File, error) {
	fd, err := unix.MemfdCreate("session", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "session")
	if err := json.NewEncoder(file).Encode(s); err != nil {
		file.Close()
		return nil, err
	}
	_, err = file.Seek(0, io.SeekStart)
	return file, err
}

func (o *output) handOver(s *handover) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.inMemoryLocked() {
		return errors.New("the disk is full") // bytes that are only in memory would be lost
	}
	log := o.log.State()
	s.End, s.Lost, s.LogError = log.End, log.Lost, log.Why
	return nil
}

func (vs *viewers) handOver(s *handover, passed *passing, held []*viewer) {
	vs.mu.Lock()
	s.Window = [2]uint16{vs.window.Rows, vs.window.Cols}
	for _, v := range held { // some may be gone
		vs.keepLocked(v)
	}
	s.Gone = vs.typing.gone
	vs.mu.Unlock()
	s.Paste = vs.handOverPaste()
	if vs.display != nil {
		s.Screen, s.At, _ = vs.display.attach(maxHistory, fit{})
	}
	for _, v := range held {
		l := leftViewer{Conn: passed.add(v.conn), Flags: v.hello.Flags, Unsent: v.unsent, Unread: v.Unread()}
		if v.waiter != nil {
			l.Waits, l.At = true, v.waiter.offset()
		}
		s.Left = append(s.Left, l)
	}
}

// passing collects descriptors that outlive an exec.
type passing struct {
	fds []int
	err error
}

// add duplicates f's descriptor so that it is inherited; -1 if f is closed.
func (p *passing) add(f syscall.Conn) int {
	copied := -1
	raw, err := f.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			var dupErr error
			if copied, dupErr = unix.FcntlInt(fd, unix.F_DUPFD, fdReady+1); dupErr != nil {
				p.err = errors.Join(p.err, dupErr)
			}
		})
	}
	if err != nil { // the job's input has ended, or a viewer is gone
		return -1
	}
	p.fds = append(p.fds, copied)
	return copied
}

func (p *passing) close() {
	for _, fd := range p.fds {
		unix.Close(fd)
	}
}

// understands asks a program whether it can succeed this holder. (os/exec would wait for the
// process, but reap does that already.)
func understands(program string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	pid, err := syscall.ForkExec(program, []string{keyway.GuestProgram, session.HolderWord, "--handover"},
		&syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{w.Fd(), w.Fd(), w.Fd()}})
	w.Close()
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	_ = r.SetReadDeadline(time.Now().Add(wire.RenewTimeout))
	said, err := io.ReadAll(io.LimitReader(r, wire.MaxText))
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	if err == nil && strings.TrimSpace(string(said)) != strconv.Itoa(handoverVersion) {
		err = fmt.Errorf("%s is of a version that cannot take over", program)
	}
	return err
}

// resumeHolder is newHolder for the successor.
func resumeHolder(o Options) (*holder, error) {
	s, err := readHandover(o.resume)
	if err != nil {
		return nil, err
	}
	h := &holder{options: o, home: homeOf(o.dir), started: s.Started, cwd: s.Cwd, oomKills: s.OOMKills, oom: session.OpenOOMCounter(), ended: make(chan struct{}, 1)}
	h.spared.Store(h.oom.Kills())
	h.options.resume = 0
	log, err := joblog.Reopen(o.dir, joblog.Kept, joblog.State{End: s.End, Lost: s.Lost, Why: s.LogError})
	if err != nil {
		return nil, err
	}
	h.output = newOutput(log)
	h.output.ring.start, h.output.ring.end = s.End, s.End
	if h.exit, err = reopenReserved(filepath.Join(o.dir, session.ExitName)); err != nil {
		return nil, err
	}
	l, err := net.FileListener(inherited(s.Listener))
	if err != nil {
		return nil, err
	}
	h.listener = l.(*net.UnixListener)
	h.job = &job{pid: s.Job, tty: o.TTY, input: inherited(s.Input), closed: s.Closed}
	for i, fd := range s.Outs {
		out := source{stream: s.Streams[i], f: h.job.input}
		if fd != s.Input {
			unix.CloseOnExec(fd)
			out = newPipe(s.Streams[i], fd)
		}
		h.job.outs = append(h.job.outs, out)
	}
	if !o.TTY {
		if h.job.poller, err = newPoller(h.job.outs); err != nil {
			return nil, err
		}
	}
	h.job.holdOn()
	h.viewers = newViewers(h, wire.Window{Rows: s.Window[0], Cols: s.Window[1]})
	if p := h.viewers.display; p != nil {
		_, _ = p.screen.Write(s.Screen)
		p.screen.Answers()
		p.at = s.At
	}
	h.viewers.typing.gone = s.Gone
	h.viewers.goOnWithPaste(s.Paste)
	for _, left := range s.Left {
		h.viewers.adopt(left)
	}
	return h, nil
}

func readHandover(fd int) (handover, error) {
	f := inherited(fd)
	defer f.Close()
	var s handover
	err := json.NewDecoder(io.LimitReader(f, maxHandover)).Decode(&s)
	if err == nil && len(s.Outs) != len(s.Streams) {
		err = errors.New("the state that was handed over is not complete")
	}
	return s, err
}

// inherited returns the file of a passed descriptor; nil if it is -1.
func inherited(fd int) *os.File {
	if fd < 0 {
		return nil
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "inherited")
}

// Renew replaces the program of the holders of all living sessions of a workspace, if they run
// another one. It returns when that is done, or the reasons for which it failed.
func Renew(home keyway.Home, program string) error {
	list, err := session.Open(home).List()
	if err != nil {
		return err
	}
	failed := make([]error, len(list))
	var all sync.WaitGroup
	for n, i := range list {
		if i.Status == session.Running && !runs(i.Holder, program) {
			all.Go(func() { failed[n] = wire.RenewHolder(i.Path, program) })
		}
	}
	all.Wait()
	return errors.Join(failed...)
}

// runs reports whether a process runs the program that is now at the path.
func runs(pid int, program string) bool {
	file, err := os.Stat(program)
	return err == nil && proctree.Runs(pid, file)
}
