//go:build linux

package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/proctree"
	"keyway/internal/unixsock"
)

// Times in the life of a holder.
const (
	// drainGrace is how long the news of the end waits for the end of the output, if
	// something that the job left behind holds that open. sshd waits for ever,
	// which hangs on every forgotten background process; tmux does not wait, which
	// loses the end of `cmd > >(tee log)`. What the job itself printed is in the
	// pipe or terminal by then and is read in any case.
	drainGrace = time.Second
	// lingerGrace is how long a viewer that reads nothing keeps the holder of an
	// ended session alive. Viewers go on from the log on disk without it.
	lingerGrace = 30 * time.Second
	// stopMoment is how long after its job's the holder's own SIGTERM may come, if
	// somebody sends it to all processes.
	stopMoment = 50 * time.Millisecond
)

// Descriptors that a holder inherits.
const (
	fdLock  = 3 // the session's lock; held as long as the holder lives
	fdReady = 4 // a pipe: a startReport, then closed
)

// holdOptions is a holder's command line.
type holdOptions struct {
	dir     string
	name    keyway.Name
	tty     bool
	noInput bool
	login   bool // as a login shell
	awaited bool // whoever starts it wants all of its output
	window  window
	erase   byte // the key of the terminal's user; 0: the usual one
	by      string
	onExit  string // for sh
	resume  int    // descriptor of a handover; 0: this session begins
	command []string
}

// args is o as Hold reads it.
func (o holdOptions) args() []string {
	args := []string{
		"--dir", o.dir, "--name", string(o.name), "--by", o.by,
		"--on-exit", o.onExit, "--rows", fmt.Sprint(o.window.rows), "--cols", fmt.Sprint(o.window.cols), "--erase", fmt.Sprint(o.erase),
	}
	for _, flag := range []struct {
		word string
		set  bool
	}{{"--tty", o.tty}, {"--no-input", o.noInput}, {"--login", o.login}, {"--awaited", o.awaited}} {
		if flag.set {
			args = append(args, flag.word)
		}
	}
	if o.resume > 0 {
		args = append(args, "--resume", fmt.Sprint(o.resume))
	}
	return append(append(args, "--"), o.command...)
}

func parseHoldOptions(args []string) (holdOptions, error) {
	g, err := commandLine{strict: true, options: []option{
		{name: "dir", value: true}, {name: "name", value: true}, {name: "by", value: true}, {name: "on-exit", value: true}, {name: "rows", value: true},
		{name: "cols", value: true}, {name: "tty"}, {name: "no-input"}, {name: "login"}, {name: "awaited"}, {name: "resume", value: true}, {name: "erase", value: true},
	}}.parse(args)
	if err != nil {
		return holdOptions{}, err
	}
	o := holdOptions{
		dir: g.values["dir"], by: g.values["by"], onExit: g.values["on-exit"], command: g.words,
		tty: g.has("tty"), noInput: g.has("no-input"), login: g.has("login"), awaited: g.has("awaited"),
	}
	rows, rowsErr := strconv.ParseUint(g.values["rows"], 10, 16)
	cols, colsErr := strconv.ParseUint(g.values["cols"], 10, 16)
	o.window = window{uint16(rows), uint16(cols)}
	erase, _ := strconv.ParseUint(g.values["erase"], 10, 8) // an older program gives none
	o.erase = byte(erase)
	if fd, ok := g.values["resume"]; ok {
		o.resume, err = strconv.Atoi(fd)
	}
	name, nameErr := keyway.ParseName(g.values["name"])
	o.name = name
	if err := errors.Join(rowsErr, colsErr, nameErr, err); err != nil {
		return o, err
	}
	if !filepath.IsAbs(o.dir) || len(o.command) == 0 || o.command[0] == "" {
		return o, errors.New("a holder needs a directory and a command")
	}
	return o, nil
}

// startReport is what a holder tells the process that started it: nothing is
// wrong, or what.
type startReport struct {
	Start *startError   `json:"start,omitempty"`
	Error *keyway.Error `json:"error,omitempty"`
}

func reportOf(err error) startReport {
	var start *startError
	switch {
	case err == nil:
		return startReport{}
	case errors.As(err, &start):
		return startReport{Start: start}
	default:
		return startReport{Error: keyway.AsError(err)}
	}
}

// holder is the process that owns one session. Its goroutines:
//
//	drain    one for each output of the job; ends with the output
//	reap     collects children; ends with the last, or with the process
//	signals  ends with the holder
//	accept   ends when the listener is closed
//	viewers  two for each connection; see viewer
type holder struct {
	options  holdOptions
	home     keyway.Home
	job      *job
	tape     *tape
	viewers  *viewers
	listener *net.UnixListener
	exit     *reserved
	started  time.Time
	cwd      string        // the job's, at the start
	oomKills uint64        // at the start
	spared   atomic.Uint64 // oomKills when the job was last seen alive

	// gate is held for reading by who takes something from the job: its output or
	// its end. Who holds it for writing finds nothing half-way; see renew.
	gate sync.RWMutex
	over bool // the job has ended; guarded by gate

	ended chan struct{} // gets a value when an ending is over

	mu     sync.Mutex // guards all below
	reason string     // why the job is being ended
	ending *jobEnding
	hook   hook
}

// Hold is the holder process: `keyway-guest holder …`. It is started by run and
// attach only, with the session's lock and a pipe for its report, as leader of a
// kernel session of its own.
func Hold(args []string) int {
	if len(args) == 1 && args[0] == "--handover" {
		fmt.Println(handoverVersion)
		return 0
	}
	unix.CloseOnExec(fdLock)
	o, err := parseHoldOptions(args)
	frugal()
	signals := catchSignals()
	if err == nil && o.resume > 0 {
		return resume(o, signals)
	}
	ready := os.NewFile(fdReady, "ready")
	unix.CloseOnExec(fdReady)
	var h *holder
	if err == nil {
		h, err = newHolder(o)
	}
	report := json.NewEncoder(ready).Encode(reportOf(err))
	ready.Close()
	if err != nil {
		return 1
	}
	if report != nil {
		// Whoever started this session is gone already. That is what sessions are for.
		fmt.Fprintln(os.Stderr, "nobody waits for this session's start:", report)
	}
	h.run(signals)
	return 0
}

// resume is Hold for a holder that was another program until now.
func resume(o holdOptions, signals chan os.Signal) int {
	h, err := resumeHolder(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the session is lost with its new holder:", err)
		return 1
	}
	h.run(signals)
	return 0
}

// frugal keeps a holder small: on a machine with a hundred cores Go would keep
// caches for each of them.
func frugal() {
	runtime.GOMAXPROCS(2)
	debug.SetGCPercent(15) // most of the heap is history, which costs nothing to collect
}

// catchSignals takes the signals that would end a holder. They are caught, not
// ignored: what is ignored here would be ignored in the job as well.
func catchSignals() chan os.Signal {
	c := make(chan os.Signal, 16)
	signal.Notify(c, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGPIPE, unix.SIGUSR1, unix.SIGUSR2)
	return c
}

// newHolder makes all that can fail and starts the job last.
func newHolder(o holdOptions) (h *holder, err error) {
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) // see descendants
	h = &holder{options: o, home: homeOf(o.dir), started: time.Now(), oomKills: oomKills(), ended: make(chan struct{}, 1)}
	h.spared.Store(h.oomKills)
	h.cwd, _ = os.Getwd()
	log, err := createLog(o.dir, keptLog)
	if err != nil {
		return nil, asNoSpace(err, o.dir)
	}
	h.tape = newTape(log)
	h.exit, err = reserve(filepath.Join(o.dir, exitName))
	if err != nil {
		return nil, asNoSpace(err, o.dir)
	}
	h.listener, err = unixsock.Listen(filepath.Join(o.dir, sockName), 0o600)
	if err != nil {
		return nil, asNoSpace(err, o.dir)
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
	h.viewers = newViewers(h, o.window)
	if o.awaited {
		h.viewers.expect(int32(os.Getppid()), h.tape.waitFor(0))
	}
	return h, nil
}

// homeOf is the home of the workspace that has the session in dir.
func homeOf(dir string) keyway.Home { return keyway.Home(filepath.Dir(filepath.Dir(dir))) }

func (h *holder) meta() meta {
	return meta{
		Name: h.options.name, Command: onRecord(h.options.command), Dir: h.cwd, TTY: h.options.tty, By: h.options.by,
		Started: h.started, Epoch: epoch(filepath.Dir(h.options.dir)), Holder: os.Getpid(),
		OnExit: h.options.onExit, OOMKills: h.oomKills,
	}
}

// maxShown bounds, in bytes, what is on record of a command.
const maxShown = 32 << 10

// onRecord is a command as it is shown: of a long one the beginning.
func onRecord(command []string) []string {
	left := maxShown
	for i, word := range command {
		if left -= len(word) + 1; left < 0 {
			return append(slices.Clone(command[:i]), "…")
		}
	}
	return command
}

func writeMeta(dir string, m meta) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return keyway.WriteFile(filepath.Join(dir, metaName), append(data, '\n'), 0o600)
}

// run lives with the job and returns when it has ended and everybody knows.
func (h *holder) run(signals chan os.Signal) {
	_ = os.Chdir("/") // do not keep a mount busy that only the job needs
	var all sync.WaitGroup
	all.Go(func() { h.viewers.accept(h.listener) })
	stop := make(chan struct{})
	all.Go(func() { h.handle(signals, stop) })

	ReleaseMemory()
	if p := h.viewers.picture; p != nil {
		h.tape.followed(p.at)
		all.Go(p.follow)
	}
	status, drained := h.outlive()
	if status.signal == unix.SIGTERM && !h.isEnding() {
		<-time.After(stopMoment) // for the record to tell whose it was
	}
	if dir := h.holdDirectory(); dir != nil {
		defer dir.Close()
	}
	// The order matters: log, exit record, and only then those who wait.
	h.tape.finish()
	record := h.record(status)
	hooked := h.onExit(record)
	h.viewers.end(status)
	h.linger(drained, hooked)
	h.listener.Close()
	close(stop)
	all.Wait()
	h.viewers.wait(lingerGrace)
}

// outlive returns how the job has ended, and what is closed when nobody can print to
// its output any more.
func (h *holder) outlive() (status jobStatus, drained <-chan struct{}) {
	var drains sync.WaitGroup
	done := make(chan struct{})
	for _, s := range h.job.outs {
		drains.Go(func() { h.drain(s) })
	}
	go func() { drains.Wait(); close(done) }()
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

// linger goes on reading into the log as long as somebody has the other end, and waits
// for the command that --on-exit names.
func (h *holder) linger(drained, hooked <-chan struct{}) {
	ReleaseMemory()
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
	h.tape.finish()
	h.job.closeInput()
	closeAll(h.sources()...)
}

// cutOff has the output end with what is in it already.
func (h *holder) cutOff() {
	for _, s := range h.job.outs {
		_ = s.f.SetReadDeadline(time.Now())
	}
}

// holdDirectory keeps the session's directory for what is still written to it: it may
// be renamed to make way for a new session of the name.
func (h *holder) holdDirectory() *os.File {
	dir, err := os.Open(h.options.dir)
	if err != nil {
		return nil
	}
	h.options.dir = fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	h.tape.moved(h.options.dir)
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

// jobStatus is how a job ended.
type jobStatus struct {
	code   int
	signal unix.Signal // 0: none
	at     time.Time
	cut    bool
	left   []leftProcess
	// What the kernel says of its memory: the most at once, in KiB, of it or of a
	// child, and that it was rather the job itself.
	memory    int64
	ownFaults bool
}

// reap collects all children, the job and what it left without a parent, and
// tells of the job's end. The goroutine is not joined: processes that outlive
// the job keep it waiting until the holder exits.
func (h *holder) reap() <-chan jobStatus {
	done := make(chan jobStatus, 1)
	go h.reapAll(done)
	return done
}

// reapAll collects children until there is none.
func (h *holder) reapAll(done chan<- jobStatus) {
	for {
		// Waits without taking what there is: see gate.
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			err = h.reapOne(done)
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func (h *holder) reapOne(done chan<- jobStatus) error {
	h.gate.RLock()
	defer h.gate.RUnlock()
	var ws unix.WaitStatus
	var used unix.Rusage
	job, _ := proctree.Read(h.job.pid)
	pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, &used)
	switch {
	case err != nil:
	case pid == h.job.pid:
		s := statusOf(ws)
		s.at = time.Now()
		s.memory, s.ownFaults = used.Maxrss, job.Faults >= job.ChildFaults
		h.over = true
		h.tape.release()
		done <- s
	default:
		h.hookEnded(pid, ws)
	}
	return err
}

func statusOf(ws unix.WaitStatus) jobStatus {
	if ws.Signaled() {
		return jobStatus{code: 128 + int(ws.Signal()), signal: ws.Signal()}
	}
	return jobStatus{code: ws.ExitStatus()}
}

func (h *holder) isEnding() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reason != ""
}

// record puts the exit record on disk.
func (h *holder) record(s jobStatus) exitRecord {
	output, _ := h.tape.state()
	missing, why := h.tape.loss()
	h.mu.Lock()
	r := exitRecord{
		Code: s.code, Started: h.started, Ended: s.at, Output: output, Lost: missing, Cut: s.cut, Left: s.left, Reason: h.reason,
	}
	h.mu.Unlock()
	if h.job.tty {
		w := h.viewers.size()
		r.Rows, r.Cols = w.rows, w.cols
	}
	if s.signal != 0 {
		r.Signal = unix.SignalName(s.signal)
	}
	if why != nil {
		r.LogErr = noSpaceReason(why)
	}
	if s.code != 0 {
		r.OOMKills = max(oomKills(), h.oomKills) - h.oomKills
		r.OOM = h.outOfMemory(s)
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = h.exit.commit(append(data, '\n'))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the exit record could not be written:", err)
	}
	return r
}

// handle acts on signals to the holder. Only SIGTERM means something: the
// workspace is being stopped. Hang-ups and Ctrl-C are for viewers.
func (h *holder) handle(signals chan os.Signal, stop chan struct{}) {
	memory := time.NewTicker(memoryPoll)
	defer memory.Stop()
	for {
		select {
		case <-memory.C:
			h.watchMemory()
		case s := <-signals:
			if s == unix.SIGTERM {
				h.end(h.home.Grace(), "the workspace was stopped")
			}
		case <-stop:
			return
		}
	}
}
