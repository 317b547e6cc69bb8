package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"keyway/internal/api"
	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/link"
	"keyway/internal/mux"
	"keyway/internal/plain"
	"keyway/internal/proctree"
	"keyway/internal/sshconfig"
)

// serveMux runs the mux until ctx ends, another build takes over, or the mux has not been used for
// a while. name is the first workspace that it holds ready.
func serveMux(ctx context.Context, name keyway.Name, log io.Writer) error {
	a, err := newApp()
	if err != nil {
		return err
	}
	a.ui.quiet = true
	sockets, err := dirs.Mux()
	if err != nil {
		return err
	}
	// x/crypto allocates memory for every packet, and the heap is small. The memory by which the
	// heap grows is given back when no session has begun or ended for a while.
	debug.SetGCPercent(400)
	api.RelayOnOneCPU()
	identity := link.Identity(a.Program)
	var s *mux.Server
	known := &suited{app: a, all: map[keyway.Name]*suit{}}
	dir, err := mux.Home(filepath.Dir(sockets), sockets, identity, name, func(dir string) (err error) {
		s, err = mux.NewServer(mux.Config{
			Dir: dir, Identity: identity, Log: slog.New(slog.NewTextHandler(log, nil)),
			Suits: known.sameAs, Screen: screenOf,
			Killed: func(name keyway.Name) string {
				e := link.Killed(string(name))
				return e.Message + "\n" + nextOf(e)
			},
			Dial: func(ctx context.Context, name keyway.Name) (mux.Target, error) {
				if err := known.suits(ctx, name); err != nil {
					return mux.Target{}, err
				}
				w, err := a.MuxRoute(ctx, name)
				return mux.Target(w), err
			},
		})
		return err
	})
	if err != nil || dir == "" {
		return err
	}
	defer os.RemoveAll(dir)
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	var following sync.WaitGroup
	following.Go(func() {
		for range resized {
			s.Resize()
		}
	})
	defer following.Wait()
	defer close(resized)
	defer signal.Stop(resized)
	s.Serve(ctx, name)
	return nil
}

// screenOf returns the terminal on which the user of an ssh sees news, as for the proxy command of
// that ssh: its standard error, or that of the command of keyway's that runs it. It returns nil if
// that is no terminal.
func screenOf(pid, errs int) mux.Screen {
	fd, err := unix.FcntlInt(uintptr(errs), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil && term.IsTerminal(fd) {
		return terminalScreen(fd)
	}
	if err == nil {
		unix.Close(fd)
	}
	environ, err := proctree.Environment(pid)
	if err != nil || !slices.Contains(environ, laptop.EnvOwnSSH+"="+laptop.OnTerminal) {
		return nil
	}
	p, err := proctree.Read(pid)
	if err != nil {
		return nil
	}
	f := proctree.Errors(p.Parent) // the command's
	if f == nil {
		return nil
	}
	defer f.Close()
	if fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return nil
	}
	return terminalScreen(fd)
}

func terminalScreen(fd int) mux.Screen {
	if t := link.OnTerminal(fd); t != nil {
		return t
	}
	return nil
}

// suited caches which workspaces are suited: a session on a shared connection behaves there as
// ssh by itself would. The answer holds until a file of ssh's configuration changes.
type suited struct {
	*app
	mu  sync.Mutex
	all map[keyway.Name]*suit
}

// suit is the answer for one workspace. Each has a lock of its own, because ssh may take long to
// answer, and other workspaces must not wait for that.
type suit struct {
	mu      sync.Mutex
	files   sshconfig.Files         // of the configuration that was found suited; empty: none
	finding atomic.Pointer[finding] // the run that is under way; nil: none
}

// finding is a check of whether a workspace can use the mux. err is the reason against it.
type finding struct{ err error }

func (s *suited) of(name keyway.Name) *suit {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[name] == nil {
		s.all[name] = &suit{}
	}
	return s.all[name]
}

// suits asks ssh only if one of its files has changed. Callers that arrive while ssh is asked
// share that answer if it is a refusal, so none of them waits for more than one run.
func (s *suited) suits(ctx context.Context, name keyway.Name) (err error) {
	known := s.of(name)
	joined := known.finding.Load()
	known.mu.Lock()
	defer known.mu.Unlock()
	if joined != nil && joined.err != nil {
		return joined.err
	}
	if !known.files.Changed() {
		return nil
	}
	known.files = nil
	now := &finding{}
	known.finding.Store(now)
	defer func() {
		now.err = err
		known.finding.Store(nil)
	}()
	files, err := sshconfig.FilesFor(ctx, name)
	if err != nil {
		return err
	}
	e, err := s.Lookup(string(name))
	if err == nil && !e.Mux {
		err = keyway.Errorf(keyway.Usage, "the mux is off for %s", name)
	}
	if err == nil {
		err = s.giveWay(ctx, e)
	}
	if err == nil {
		err = s.CheckMux(ctx, e)
	}
	if err == nil {
		known.files = files
	}
	return err
}

// giveWay switches the mux off for a workspace if the user has ssh share connections by itself: the
// mux's path would hide the user's.
func (s *suited) giveWay(ctx context.Context, e sshconfig.Entry) error {
	own, err := sshconfig.OwnControlPath(ctx)
	if err != nil || own == "" {
		return err
	}
	if err := s.UseMux(ctx, e, false); err != nil {
		return err
	}
	return keyway.Errorf(keyway.BadConfig, "your ssh configuration has a ControlPath, %s, and the mux is now off for %s", own, e.Name)
}

// sameAs is suits, for a connection that was made earlier: the name may be another workspace's by
// now.
func (s *suited) sameAs(ctx context.Context, name keyway.Name, user string, hostKey ssh.PublicKey) error {
	if err := s.suits(ctx, name); err != nil {
		return err
	}
	e, err := s.Lookup(string(name))
	if err != nil {
		return err
	}
	now, err := sshconfig.ParseHostKey(e.HostKey)
	if err == nil && (e.User != user || !bytes.Equal(now.Marshal(), hostKey.Marshal())) {
		err = keyway.Errorf(keyway.Usage, "%s is another workspace than the one that was held ready", name)
	}
	return err
}

// whyNoMux returns the reason why the mux does not hold a workspace ready, as far as it has
// tried.
func whyNoMux(a *app, sockets string, name keyway.Name) string {
	return plain.Line(mux.Why(sockets, link.Identity(a.Program), name))
}

// startMux asks the mux to hold a workspace ready, and starts the mux if it does not run. It
// returns no error, since ssh works without the mux; the mux's log has the errors.
func startMux(a *app, name keyway.Name) {
	sockets, err := dirs.Mux()
	if err != nil || mux.Ask(sockets, link.Identity(a.Program), name) {
		return
	}
	path, err := dirs.MuxLog()
	if err != nil {
		return
	}
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		_ = os.Truncate(path, 0)
	}
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer log.Close()
	cmd := exec.Command(a.Program, "mux", "serve", string(name))
	cmd.Stderr, cmd.Dir = log, filepath.Dir(path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if cmd.Start() == nil {
		_ = cmd.Process.Release()
	}
}

// guardMux keeps a stopped mux from blocking ssh, until ctx ends.
func guardMux(ctx context.Context) {
	if sockets, err := dirs.Mux(); err == nil {
		mux.Guard(ctx, filepath.Dir(sockets), sockets)
	}
}
