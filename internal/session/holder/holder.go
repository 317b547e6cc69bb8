//go:build linux

package holder

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/memory"
	"keyway/internal/proctree"
	"keyway/internal/session"
	"keyway/internal/session/joblog"
	"keyway/internal/unixsock"
)

// Times in the life of a holder.
const (
	// drainGrace is the time that the exit record waits for the end of the output, if a process
	// that the job left behind holds it open. sshd waits for ever, which hangs on every forgotten
	// background process. tmux does not wait, which loses the end of `cmd > >(tee log)`. By then,
	// the job's own output is in the pipe or terminal, and is read in any case.
	drainGrace = time.Second
	// lingerGrace is the time that a viewer that reads nothing keeps the holder of an ended session
	// alive. After that, viewers read on from the log on disk.
	lingerGrace = 30 * time.Second
	// stopMoment is the time between the job's end and the holder's own SIGTERM, if a process sends
	// the signal to all processes.
	stopMoment = 50 * time.Millisecond
)

// holder is the process that owns one session. Its goroutines:
//
//	drain    one for each output of the job; ends with the output
//	reap     collects children; ends with the last, or with the process
//	signals  ends with the holder
//	accept   ends when the listener is closed
//	viewers  two for each connection; see viewer
type holder struct {
	options  Options
	home     keyway.Home
	job      *job
	output   *output
	viewers  *viewers
	listener *net.UnixListener
	exit     *reserved
	started  time.Time
	cwd      string // the job's, at the start
	oom      *session.OOMCounter
	oomKills uint64        // at the start
	spared   atomic.Uint64 // oomKills when the job was last known to live

	// gate is held for reading while something is taken from the job: its output or its end. The
	// writer holds it when nothing is half done; see renew.
	gate sync.RWMutex
	over bool // the job has ended; guarded by gate

	ended chan struct{} // receives a value when an ending is over

	mu     sync.Mutex // guards all fields below
	reason string     // why the job is being ended
	ending *jobEnding
	hook   hook
}

// newHolder makes everything that can fail, and starts the job last.
func newHolder(o Options) (h *holder, err error) {
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) // see descendants
	h = &holder{options: o, home: homeOf(o.dir), started: time.Now(), oom: session.OpenOOMCounter(), ended: make(chan struct{}, 1)}
	h.oomKills = h.oom.Kills()
	h.spared.Store(h.oomKills)
	h.cwd, _ = os.Getwd()
	log, err := joblog.Create(o.dir, joblog.Kept)
	if err != nil {
		return nil, session.AsNoSpace(err, o.dir)
	}
	h.output = newOutput(log)
	h.exit, err = reserve(filepath.Join(o.dir, session.ExitName))
	if err != nil {
		return nil, session.AsNoSpace(err, o.dir)
	}
	h.listener, err = unixsock.Listen(filepath.Join(o.dir, session.SockName), 0o600)
	if err != nil {
		return nil, session.AsNoSpace(err, o.dir)
	}
	h.listener.SetUnlinkOnClose(false) // the path may be another session's by then
	m := h.meta()
	if err := writeMeta(o.dir, m); err != nil {
		return nil, err
	}
	if h.job, err = startJob(o); err != nil {
		return nil, err
	}
	m.Job, m.JobStart = h.job.pid, proctree.StartTime(h.job.pid)
	if err := writeMeta(o.dir, m); err != nil {
		fmt.Fprintln(os.Stderr, "the job's process number is not on record:", err)
	}
	h.viewers = newViewers(h, o.Window)
	if o.Awaited {
		h.viewers.expect(int32(os.Getppid()), h.output.waitFor(0))
	}
	return h, nil
}

// homeOf returns the Home of the workspace that the session in dir belongs to. dir is below its
// keyway.Home.Sessions.
func homeOf(dir string) keyway.Home { return keyway.Home(filepath.Join(dir, "../../..")) }

func (h *holder) meta() session.Meta {
	return session.Meta{
		Name: h.options.name, Command: onRecord(h.options.Command), Dir: h.cwd, TTY: h.options.TTY, By: h.options.by,
		Started: h.started, Epoch: session.Epoch(filepath.Dir(h.options.dir)), Holder: os.Getpid(),
		OnExit: h.options.OnExit, OOMKills: h.oomKills,
	}
}

// maxShown bounds the bytes of a command in the record.
const maxShown = 32 << 10

// onRecord returns the command for the record, which is cut if it is long.
func onRecord(command []string) []string {
	left := maxShown
	for i, word := range command {
		if left -= len(word) + 1; left < 0 {
			return append(slices.Clone(command[:i]), "…")
		}
	}
	return command
}

func writeMeta(dir string, m session.Meta) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return keyway.WriteFile(filepath.Join(dir, session.MetaName), append(data, '\n'), 0o600)
}

// run returns when the job has ended and all viewers have been told.
func (h *holder) run(signals chan os.Signal) {
	_ = os.Chdir("/") // do not keep a mount busy that the job may leave
	var all sync.WaitGroup
	all.Go(func() { h.viewers.accept(h.listener) })
	stop := make(chan struct{})
	all.Go(func() { h.handle(signals, stop) })

	memory.Release()
	if p := h.viewers.display; p != nil {
		h.output.followed(p.at)
		all.Go(p.follow)
	}
	status, drained := h.outlive()
	if status.Signal == unix.SIGTERM && !h.isEnding() {
		<-time.After(stopMoment) // so that the record can tell why the job ended
	}
	if dir := h.holdDirectory(); dir != nil {
		defer dir.Close()
	}
	// The order matters: the log, the exit record, and only then the waiting viewers.
	h.output.finish()
	record := h.record(status)
	hooked := h.onExit(record)
	h.viewers.end(status.End)
	h.linger(drained, hooked)
	h.listener.Close()
	close(stop)
	all.Wait()
	h.viewers.wait(lingerGrace)
}

// outlive waits for the job. It returns how the job ended, and a channel that is closed when no
// process can write to its output any more.
func (h *holder) outlive() (status jobStatus, drained <-chan struct{}) {
	done := make(chan struct{})
	go func() { h.drain(); close(done) }()
	status = <-h.reap()
	h.job.letGo()
	h.awaitEnding()
	if h.isEnding() {
		h.cutOff()
	}
	select {
	case <-done:
	case <-time.After(drainGrace):
		status.cut = true
	}
	if !h.job.tty {
		h.job.closeInput()
	}
	status.left = leftBehind()
	return status, done
}

// linger reads on into the log while a process holds the output open, and waits for the command of
// --on-exit.
func (h *holder) linger(drained, hooked <-chan struct{}) {
	memory.Release()
	for drained != nil || hooked != nil {
		select {
		case <-drained:
			drained = nil
		case <-hooked:
			hooked = nil
		case <-h.ended:
			h.cutOff()
		}
	}
	h.output.finish()
	h.job.closeInput()
	closeAll(h.sources()...)
}

// cutOff ends the output after the bytes that are in the pipes already.
func (h *holder) cutOff() {
	if h.job.poller != nil {
		h.job.poller.cutOff()
	} else {
		_ = h.job.outs[0].f.SetReadDeadline(time.Now())
	}
}

// holdDirectory opens the session's directory for the files that are still to be written: the
// directory may be renamed to make way for a new session of the same name.
func (h *holder) holdDirectory() *os.File {
	dir, err := os.Open(h.options.dir)
	if err != nil {
		return nil
	}
	h.options.dir = fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	h.output.moved(h.options.dir)
	return dir
}

func (h *holder) sources() []*os.File {
	var files []*os.File
	for _, s := range h.job.outs {
		if s.f != h.job.input {
			files = append(files, s.f)
		}
	}
	return files
}

func (h *holder) isEnding() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reason != ""
}

// handle acts on signals to the holder. Only SIGTERM has a meaning: the workspace is being stopped.
// Hang-ups and Ctrl-C are for viewers.
func (h *holder) handle(signals chan os.Signal, stop chan struct{}) {
	memory := time.NewTicker(memoryPoll)
	defer memory.Stop()
	for {
		select {
		case <-memory.C:
			h.watchMemory()
		case s := <-signals:
			if s == unix.SIGTERM {
				h.end(h.home.Grace(), session.WorkspaceStopped)
			}
		case <-stop:
			return
		}
	}
}
