package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/link"
	"keyway/internal/mux"
	"keyway/internal/plain"
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
	identity := link.Identity(a.Program)
	var s *mux.Server
	dir, err := mux.Home(filepath.Dir(sockets), sockets, identity, name, func(dir string) (err error) {
		s, err = mux.NewServer(mux.Config{
			Dir: dir, Identity: identity, Log: slog.New(slog.NewTextHandler(log, nil)),
			Dial: func(ctx context.Context, name keyway.Name) (mux.Target, error) {
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
