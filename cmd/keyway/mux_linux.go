package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"

	"keyway/internal/api"
	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/link"
	"keyway/internal/mux"
	"keyway/internal/plain"
	"keyway/internal/sshconfig"
)

// serveMux runs the mux until ctx ends, another build takes over, or nobody has used it for
// long. name is the first workspace that it holds ready.
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
	// Every packet is an allocation in x/crypto, over a small heap. What this lets grow is
	// given back when nothing has begun or ended for a while.
	debug.SetGCPercent(400)
	api.RelayOnOneCPU()
	identity := link.Identity(a.Program)
	var s *mux.Server
	known := &suited{app: a, all: map[keyway.Name]*suit{}}
	dir, err := mux.Home(filepath.Dir(sockets), sockets, identity, name, func(dir string) (err error) {
		s, err = mux.NewServer(mux.Config{
			Dir: dir, Identity: identity, Log: slog.New(slog.NewTextHandler(log, nil)),
			Suits: known.suits,
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

// suited are workspaces for which a session on a shared connection is what ssh would have by
// itself, as long as the files of ssh's configuration stay as they are.
type suited struct {
	*app
	mu  sync.Mutex
	all map[keyway.Name]*suit
}

// suit is whether one workspace is suited. ssh may take long to say so, for which no other
// workspace waits.
type suit struct {
	mu      sync.Mutex
	files   sshconfig.Files         // none: it is not known to be suited
	finding atomic.Pointer[finding] // the one that goes on; nil: none
}

// finding is one run of what finds out whether a workspace is suited. err is why it is not.
type finding struct{ err error }

func (s *suited) of(name keyway.Name) *suit {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[name] == nil {
		s.all[name] = &suit{}
	}
	return s.all[name]
}

// suits asks ssh only if one of its files has changed. Those that come while ssh is asked have
// its refusal, too: if ssh takes long each time, none of them waits for more than that.
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
		err = s.CheckMux(ctx, e)
	}
	if err == nil {
		known.files = files
	}
	return err
}

// whyNoMux is what keeps the mux from holding a workspace ready, as far as it has tried.
func whyNoMux(a *app, sockets string, name keyway.Name) string {
	return plain.Line(mux.Why(sockets, link.Identity(a.Program), name))
}

// startMux asks the mux to hold a workspace ready, and starts it if it does not run. Errors
// are in its log: ssh works without it.
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

// guardMux keeps a mux that was stopped from holding up ssh, until ctx ends.
func guardMux(ctx context.Context) {
	if sockets, err := dirs.Mux(); err == nil {
		mux.Guard(ctx, filepath.Dir(sockets), sockets)
	}
}
