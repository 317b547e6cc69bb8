//go:build linux

package guest

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/filelock"
	"keyway/internal/keyway"
	"keyway/internal/memory"
	"keyway/internal/proctree"
)

const (
	// killGrace is the time that the kernel gets to end killed processes. A program that
	// hangs in a device is not waited for any longer.
	killGrace = 2 * time.Second

	restartFirst = 50 * time.Millisecond
	restartMost  = 5 * time.Second
	// A server that has lived longer than this is started again with the shortest delay.
	restartCalm = 10 * time.Second
)

// initMain is the workspace's first process.
func initMain(home keyway.Home, command []string) int {
	return beFirst(home, command, opening{key: takeHostKey})
}

// opening is the input with which a first process starts.
type opening struct {
	key func() (ed25519.PrivateKey, error) // the host key
	tcp *os.File                           // a listening socket on the network; nil: none
}

func beFirst(home keyway.Home, command []string, o opening) int {
	// This process does next to nothing for days: a small heap is worth more than speed.
	debug.SetGCPercent(20)
	// The kernel ends serve when the thread that started it ends (Pdeathsig), so all
	// children are started from one thread that never ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	lock, err := takeInitLock(home)
	if err != nil {
		return fail(os.Stderr, err)
	}
	defer lock.Close()
	in, err := begin(home, o)
	if err != nil {
		return fail(os.Stderr, err)
	}
	defer in.sockets.Close()
	surviveBrokenPipes()
	setCommandEnvironment(home)
	// This comes before the first child, so that no child's end is missed.
	signal.Notify(in.events, initSignals...)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		in.note("processes that detach will not be reaped: %v", err)
	}
	return in.run(command)
}

// begin reads the host key and makes the guest's files in its Home. It does all of that
// before any program of the image starts.
func begin(home keyway.Home, o opening) (*initProcess, error) {
	if err := concealMemory(home); err != nil {
		return nil, err
	}
	key, err := o.key()
	if err != nil {
		return nil, err
	}
	if err := prepareHome(home); err != nil {
		return nil, err
	}
	s, err := bindSockets(home)
	if err != nil {
		return nil, err
	}
	s.tcp = o.tcp
	return &initProcess{
		home: home, keySigner: keySigner{key}, sockets: s, ready: make(chan struct{}, 1), events: make(chan os.Signal, 64),
	}, nil
}

// setCommandEnvironment gives the command the same variables of the workspace that sessions
// have: the path of its commands and the agent of the newest connection.
func setCommandEnvironment(home keyway.Home) {
	_ = os.Setenv(keyway.EnvHome, string(home))
	_ = os.Setenv("SSH_AUTH_SOCK", home.AgentSocket())
	_ = os.Setenv("PATH", pathWith(os.Getenv("PATH"), home.Bin()))
}

// initSignals are the signals that the first process handles or passes on.
var initSignals = []os.Signal{
	unix.SIGCHLD, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2,
	unix.SIGWINCH, unix.SIGCONT, unix.SIGALRM,
}

// takeInitLock takes the lock that shows that the workspace lives. The process holds it
// until it ends, in whatever way. The grace file of the last life is removed.
func takeInitLock(home keyway.Home) (*os.File, error) {
	path := string(home) + "/init.lock"
	if st, err := os.Lstat(path); err == nil && !st.Mode().IsRegular() {
		_ = os.RemoveAll(path) // a program of the workspace has put a directory there
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, err
	}
	if err = lockPatiently(f); err != nil {
		err = keyway.Errorf(keyway.NameTaken, "the workspace in %s runs already: %w", home, err)
	} else if err = f.Truncate(0); err == nil {
		_ = os.Remove(home.GraceFile()) // belongs to the end of its last life
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// A process that checks whether the workspace lives takes the lock for a moment. Only
// another first process holds it longer than lockTimeout.
const (
	lockTimeout = 300 * time.Millisecond
	lockPause   = 5 * time.Millisecond
)

func lockPatiently(f *os.File) error {
	for left := lockTimeout; ; left -= lockPause {
		err := filelock.Try(f, filelock.Exclusive)
		if err == nil || left < 0 {
			return err
		}
		time.Sleep(lockPause)
	}
}

// initProcess is the state of the first process. One goroutine owns it. Everything that
// happens reaches it as a signal or a timer.
//
//	starting ── the first server serves, the command is started ──► running
//	starting, running ── SIGTERM, SIGINT, the command's end ──► ending ── grace over ──► killing
//	ending, killing ── nothing lives any more ──► run returns
type initProcess struct {
	home      keyway.Home
	keySigner keySigner
	sockets   sockets
	events    chan os.Signal
	ready     chan struct{} // a server serves

	server      int      // pid; 0: to be started at restart
	control     net.Conn // to the server
	answering   sync.WaitGroup
	serverSince time.Time
	restart     <-chan time.Time
	pause       time.Duration

	command int // pid; 0: none, or ended

	ending *stopping // nil: the workspace lives
	status int       // exit status
	step   <-chan time.Time
	grace  <-chan time.Time // time for killed processes to end
	killed bool
}

func (in *initProcess) note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, keyway.GuestProgram+" init: "+format+"\n", args...)
}

func (in *initProcess) run(command []string) int {
	in.startServer()
	memory.Release()
	for !in.over() {
		select {
		case <-in.ready:
			in.begun(command)
			command = nil // once
		case sig := <-in.events:
			in.signal(sig.(unix.Signal))
		case <-in.restart:
			in.restart = nil
			in.startServer()
		case <-in.step:
			in.stepEnd()
		case <-in.grace:
			in.grace = nil
		}
	}
	in.reap() // over must not count processes that only wait to be reaped
	in.hangUp()
	return in.status
}

// begun starts the command, once the first server serves: until then no program of the
// image runs that could interfere with the server's start.
func (in *initProcess) begun(command []string) {
	if in.ending != nil {
		return
	}
	err := in.startCommand(command)
	if err == nil {
		return
	}
	in.note("%v", err)
	status := exitNotExecutable
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
		status = exitNotFound
	}
	in.end(status, unix.SIGTERM)
}

// over reports whether the workspace has ended and no process of it is left.
func (in *initProcess) over() bool {
	return in.ending != nil && (in.killed && in.grace == nil || len(descendants()) == 0)
}

// spawn starts a child with files from descriptor 3 on. It does not use os/exec, which
// would wait for the child: reap waits for all children.
func (in *initProcess) spawn(path string, argv []string, sys *syscall.SysProcAttr, files ...*os.File) (int, error) {
	fds := []uintptr{0, 1, 2}
	for _, f := range files {
		fds = append(fds, f.Fd())
	}
	return syscall.ForkExec(path, argv, &syscall.ProcAttr{Env: os.Environ(), Files: fds, Sys: sys})
}

func (in *initProcess) startServer() {
	in.serverSince = time.Now()
	theirs, err := in.answer()
	if err == nil {
		defer theirs.Close()
		// In a session of its own, it gets no signals from the command's terminal.
		argv, files := []string{keyway.GuestProgram, "serve", "--home", string(in.home)}, []*os.File{theirs, in.sockets.ssh, in.sockets.agent}
		if in.sockets.tcp != nil {
			argv, files = append(argv, onNetwork), append(files, in.sockets.tcp)
		}
		in.server, err = in.spawn(thisProgram(in.home), argv, &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}, files...)
	}
	if err != nil {
		in.server = 0
		in.hangUp()
		in.note("the server cannot be started: %v", err)
		in.restartLater()
	}
}

// answer makes a server's socket to the key signer. The key signer answers on it until
// hangUp.
func (in *initProcess) answer() (theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours := os.NewFile(uintptr(pair[0]), "keeper")
	defer ours.Close()
	theirs = os.NewFile(uintptr(pair[1]), "server")
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, err
	}
	in.control = conn
	in.answering.Go(func() {
		in.keySigner.serve(conn, func() {
			select {
			case in.ready <- struct{}{}:
			default: // one pending signal is enough
			}
		})
	})
	return theirs, nil
}

// hangUp closes the key signer's socket to a server that has ended. Copies of the other end
// are useless from then on.
func (in *initProcess) hangUp() {
	if in.control != nil {
		in.control.Close()
		in.control = nil
	}
	in.answering.Wait()
}

func (in *initProcess) restartLater() {
	if time.Since(in.serverSince) > restartCalm {
		in.pause = 0
	}
	in.pause = min(max(2*in.pause, restartFirst), restartMost)
	in.restart = time.After(in.pause)
}

func (in *initProcess) startCommand(command []string) error {
	if len(command) == 0 {
		return nil
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	pid, err := in.spawn(path, command, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	in.command = pid
	return nil
}

func (in *initProcess) signal(sig unix.Signal) {
	switch sig {
	case unix.SIGCHLD:
		in.reap()
		if in.killed {
			killAll() // those started while the others were being killed
		}
	case unix.SIGTERM, unix.SIGINT:
		in.stop(sig)
	default:
		if in.command != 0 {
			_ = unix.Kill(in.command, sig)
		}
	}
}

// stop ends the workspace on request. With a command, the command's status counts; without
// one, a stop is the normal end.
func (in *initProcess) stop(sig unix.Signal) {
	status := 0
	if in.command != 0 {
		status = 128 + int(sig)
	}
	in.end(status, sig)
}

// end begins the end. The command gets sig instead of SIGTERM. A second call may shorten
// the grace.
func (in *initProcess) end(status int, sig unix.Signal) {
	if in.ending != nil {
		in.ending.again(in.home.Grace(), time.Now())
		return
	}
	in.status, in.restart = status, nil
	in.ending = newStopping(in.home.Grace(), time.Now())
	in.step = time.Tick(stepPoll)
	if p, err := proctree.Read(in.command); in.command != 0 && err == nil {
		_ = unix.Kill(in.command, sig)
		in.ending.turns.Told(p)
	}
	in.stepEnd()
}

// stepEnd takes the next step of the end.
func (in *initProcess) stepEnd() {
	if !in.killed && in.ending.next(in.server, time.Now()) {
		in.kill()
	}
}

// kill kills everything. It is called when the grace is over.
func (in *initProcess) kill() {
	in.killed = true
	in.grace = time.After(killGrace)
	killAll()
}

func killAll() {
	for _, pid := range descendants() {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// reap waits for every child that has ended, including the orphans that this process has
// adopted.
func (in *initProcess) reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		in.childEnded(pid, status)
	}
}

func (in *initProcess) childEnded(pid int, status unix.WaitStatus) {
	switch pid {
	case in.server:
		in.server = 0
		in.hangUp()
		if in.ending == nil {
			in.note("the server has ended (%s) and is started again", describe(status))
			in.restartLater()
		}
	case in.command:
		in.command = 0
		if in.ending != nil {
			in.status = exitCode(status)
		}
		in.end(exitCode(status), unix.SIGTERM)
	}
}

// exitCode returns the status as shells report it: 128 plus the number of the signal that
// ended the process.
func exitCode(status unix.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

func describe(status unix.WaitStatus) string {
	if status.Signaled() {
		return "signal " + strconv.Itoa(int(status.Signal()))
	}
	return "status " + strconv.Itoa(status.ExitStatus())
}
