//go:build linux

package words

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/session"
)

// patience bounds the wait for an event; a busy machine takes longer for everything.
const patience = time.Minute

// lab is one workspace with the real program in it.
type lab struct {
	t    testing.TB
	home keyway.Home
	session.Registry
}

func newLab(t testing.TB) *lab {
	t.Helper()
	return newLabIn(t, t.TempDir())
}

func newLabIn(t testing.TB, dir string) *lab {
	t.Helper()
	home := keyway.Home(dir)
	l := &lab{t: t, home: home, Registry: session.Registry{Dir: home.Sessions(), Workspace: "train"}}
	t.Cleanup(l.clean)
	return l
}

// clean ends all that a test has left running, and waits for the holders.
func (l *lab) clean() {
	list, err := l.List()
	if err != nil {
		l.t.Error(err)
	}
	for _, i := range list {
		switch {
		case i.Alive():
			l.keyway("kill", "--grace", "0", string(i.Name))
		case i.Status == session.Lost:
			i.KillOrphans()
		}
		l.holderGone(i)
		if said, err := os.ReadFile(filepath.Join(i.Path, "holder.err")); err != nil || len(said) > 0 {
			l.t.Errorf("the holder of %s said %q, %v", i.Name, said, err)
		}
	}
}

// holderGone waits until the holder has released its lock.
func (l *lab) holderGone(i session.Info) {
	l.t.Helper()
	f, err := os.Open(filepath.Join(i.Path, "lock"))
	if err != nil {
		return
	}
	defer f.Close()
	within(l.t, "the holder's end", func() {
		for errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH), unix.EINTR) {
		}
	})
}

// within fails the test if f takes too long.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("waited too long for %s", what)
	}
}

// cmd returns the command keyway ARGS….
func (l *lab) cmd(args ...string) *exec.Cmd {
	program, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	// The race detector's reports of these processes end up in their stderr; by
	// default it also makes each of them wait a second.
	cmd.Env = append(os.Environ(), envProgram+"=1", "GORACE=atexit_sleep_ms=0", keyway.EnvHome+"="+string(l.home), keyway.EnvName+"=train")
	cmd.Dir = l.t.TempDir()
	cmd.WaitDelay = patience
	return cmd
}

// result is the exit code and the output of a command.
type result struct {
	out, err string
	code     int
}

func (l *lab) keyway(args ...string) result { return l.keywayWith("", args...) }

func (l *lab) keywayWith(stdin string, args ...string) result {
	l.t.Helper()
	cmd := l.cmd(args...)
	cmd.Stdin = strings.NewReader(stdin)
	return l.finish(cmd)
}

func (l *lab) finish(cmd *exec.Cmd) result {
	l.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.t.Fatalf("%v: %v", cmd.Args[1:], err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// ok runs a command that must succeed and returns its output.
func (l *lab) ok(args ...string) string {
	l.t.Helper()
	r := l.keyway(args...)
	if r.code != 0 {
		l.t.Fatalf("keyway %v: exit code %d\n%s%s", args, r.code, r.out, r.err)
	}
	return r.out
}

// session returns the registry's information about a name.
func (l *lab) session(name keyway.Name) session.Info {
	l.t.Helper()
	i, err := l.Load(name)
	if err != nil {
		l.t.Fatal(err)
	}
	return i
}

// process is a running command whose output can be waited for.
type liveProcess struct {
	t    testing.TB
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *expecter
	errs *expecter
	pty  *os.File
	done chan struct{}
}

// start runs a command on pipes.
func (l *lab) start(args ...string) *liveProcess {
	l.t.Helper()
	p := &liveProcess{t: l.t, cmd: l.cmd(args...), out: newExpecter(), errs: newExpecter(), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.errs
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		l.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); p.out.Close(); p.errs.Close(); close(p.done) }()
	l.t.Cleanup(p.kill)
	return p
}

// startTTY runs a command on a terminal of that size.
func (l *lab) startTTY(rows, cols uint16, args ...string) *liveProcess {
	l.t.Helper()
	p := &liveProcess{t: l.t, cmd: l.cmd(args...), out: newExpecter(), done: make(chan struct{})}
	p.errs = p.out
	l.onTTY(p, rows, cols)
	return p
}

func (l *lab) onTTY(p *liveProcess, rows, cols uint16) {
	l.t.Helper()
	p.cmd.Env = append(p.cmd.Env, "TERM=xterm-256color")
	f, err := pty.StartWithSize(p.cmd, &pty.Winsize{Rows: rows, Cols: cols})
	if err != nil {
		l.t.Fatal(err)
	}
	p.pty, p.in = f, f
	var read sync.WaitGroup
	read.Go(func() { _, _ = io.Copy(p.out, f) })
	go func() { _ = p.cmd.Wait(); read.Wait(); p.out.Close(); f.Close(); close(p.done) }()
	l.t.Cleanup(p.kill)
}

// startShellTTY runs a script, in which $0 is the program, on a terminal.
func (l *lab) startShellTTY(script string) *liveProcess {
	l.t.Helper()
	p := &liveProcess{t: l.t, cmd: l.cmd(), out: newExpecter(), done: make(chan struct{})}
	p.errs = p.out
	p.cmd.Path, p.cmd.Args = "/bin/sh", []string{"sh", "-c", script, p.cmd.Path}
	l.onTTY(p, 24, 80)
	return p
}

func (p *liveProcess) kill() {
	_ = p.cmd.Process.Kill()
	within(p.t, "a killed command", func() { <-p.done })
}

func (p *liveProcess) keys(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, s); err != nil {
		p.t.Fatal(err)
	}
}

// wait returns the exit code.
func (p *liveProcess) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%v does not end; it printed:\n%s\n%s", p.cmd.Args[1:], p.out, p.errs)
	}
	return p.cmd.ProcessState.ExitCode()
}

// expecter collects output and lets tests wait for a part of it.
type expecter struct {
	mu     sync.Mutex
	buf    []byte
	more   chan struct{}
	closed bool
}

func newExpecter() *expecter { return &expecter{more: make(chan struct{})} }

func (e *expecter) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buf = append(e.buf, p...)
	if !e.closed {
		close(e.more)
		e.more = make(chan struct{})
	}
	return len(p), nil
}

func (e *expecter) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.closed = true
		close(e.more)
	}
}

func (e *expecter) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return string(e.buf)
}

// expect waits for s and discards all output up to its end.
func (e *expecter) expect(t testing.TB, s string) string {
	t.Helper()
	deadline := time.After(patience)
	for {
		e.mu.Lock()
		at := bytes.Index(e.buf, []byte(s))
		if at >= 0 {
			before := string(e.buf[:at])
			e.buf = e.buf[at+len(s):]
			e.mu.Unlock()
			return before
		}
		more, closed, got := e.more, e.closed, string(e.buf)
		e.mu.Unlock()
		if closed {
			t.Fatalf("expected %q before the end, got %q", s, got)
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("waited too long for %q, got %q", s, got)
		}
	}
}

// lastPart returns the end of a long text.
func lastPart(s string) string { return s[max(0, len(s)-1000):] }
