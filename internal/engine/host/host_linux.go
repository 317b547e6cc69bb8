package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"keyway/internal/engine"
	"keyway/internal/gpu"
	"keyway/internal/keyway"
)

func probe() error { return nil }

// Create implements engine.Engine.
func (e *Engine) Create(ctx context.Context, s keyway.Spec, report func(keyway.Progress)) (keyway.Workspace, error) {
	if err := check(s); err != nil {
		return keyway.Workspace{}, err
	}
	if s.Image != "" {
		report(keyway.Progress{Message: "the host engine uses this machine as it is; the image " + s.Image + " is not used"})
	}
	unlock, err := e.homes.TryLock(s.Name)
	if err != nil {
		return keyway.Workspace{}, err
	}
	defer unlock()
	if _, err := e.homes.Spec(s.Name); err == nil { // before it waits for GPUs
		return keyway.Workspace{}, engine.NameTaken(s.Name)
	}
	s.Engine = Name
	gpus, err := e.lend(ctx, s, report)
	if err != nil {
		return keyway.Workspace{}, err
	}
	defer gpus.Close()
	home, err := e.homes.Make(s, e.guest)
	if err != nil {
		return keyway.Workspace{}, err
	}
	if err := e.begin(ctx, home, s, gpus, report); err != nil {
		return keyway.Workspace{}, errors.Join(err, e.erase(s.Name))
	}
	rec, err := e.find(s.Name)
	if err != nil {
		return keyway.Workspace{}, err
	}
	return e.describe(context.WithoutCancel(ctx), s.Name, rec), nil
}

// begin starts the workspace's processes and waits until the guest serves.
func (e *Engine) begin(ctx context.Context, home keyway.Home, s keyway.Spec, gpus *gpu.Grant, report func(keyway.Progress)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := errors.Join(e.homes.RunsWith(s.Name, e.guest), link(e.guest.Dir, home.Bin()), os.Chmod(string(home), 0o700)); err != nil {
		return err
	}
	key, err := e.hostKey(s.Name, home)
	if err != nil {
		return err
	}
	inner, err := e.inner(home)
	if err != nil {
		return err
	}
	scope, news := e.scope(ctx)
	if news != "" && report != nil {
		report(keyway.Progress{Message: news})
	}
	init, err := startInit(scope, home, inner, s, key, gpus)
	if err != nil {
		return err
	}
	defer init.log.Close()
	_, err = engine.Await(ctx, home, func(context.Context) error {
		select {
		case <-init.ended:
			return errDied
		default:
			return nil
		}
	})
	if errors.Is(err, errDied) || errors.Is(err, engine.ErrGuestSilent) {
		return guestFailed(err, init.log)
	}
	return err
}

var errDied = errors.New("the guest ended before it was ready")

func guestFailed(err error, log *initLog) error {
	said := log.tail()
	if said == "" {
		return keyway.Errorf(keyway.GuestFailed, "the workspace did not come up: %w", err)
	}
	return keyway.Errorf(keyway.GuestFailed, "the workspace did not come up: %w; its last output:\n%s", err, said)
}

// link links Home's bin to the directory with the guest program. A workspace that is started again
// gets the program of the node that starts it.
func link(dir, bin string) error {
	fresh := bin + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(dir, fresh); err != nil {
		return err
	}
	return os.Rename(fresh, bin)
}

// erase kills the remaining processes of a workspace and removes its Home.
func (e *Engine) erase(name keyway.Name) error {
	home := e.home(name)
	if err := killAll(home); err != nil {
		return err
	}
	err := e.homes.Remove(name)
	e.forgetShort(home) // last: a caller that uses the Home meanwhile makes the link again
	return err
}

// find returns the Record of the workspace.
func (e *Engine) find(name keyway.Name) (engine.Record, error) {
	rec, err := e.homes.Record(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && rec.Spec.Engine != Name {
		return rec, engine.NotFound(name)
	}
	return rec, err
}

// List implements engine.Engine.
func (e *Engine) List(ctx context.Context) ([]keyway.Workspace, error) {
	names, err := e.homes.Names()
	if err != nil {
		return nil, err
	}
	found := make([]*keyway.Workspace, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			if rec, err := e.find(name); err == nil {
				w := e.describe(ctx, name, rec)
				found[i] = &w
			}
		})
	}
	all.Wait()
	list := []keyway.Workspace{}
	for _, w := range found {
		if w != nil {
			list = append(list, *w)
		}
	}
	return list, ctx.Err()
}

func (e *Engine) describe(ctx context.Context, name keyway.Name, rec engine.Record) keyway.Workspace {
	home := e.home(name)
	w := keyway.Workspace{
		Name: name, Engine: Name, GPUs: rec.Spec.GPUs, ForwardAgent: rec.Spec.ForwardAgent, Created: rec.Created,
		Sessions: engine.Sessions(dataOf(home, rec)), Origin: rec.Spec.Origin,
	}
	w.Guest, _ = engine.Info(home)
	w.Guest.HostKey = rec.HostKey
	w.State, w.Reason = state(ctx, home)
	return w
}

// dataOf returns the directory with the workspace's sessions. A workspace that an older keyway
// started keeps them in its Home until it is started again.
func dataOf(home keyway.Home, rec engine.Record) string {
	if rec.HostKey == "" {
		return string(home)
	}
	return home.Data()
}

func state(ctx context.Context, home keyway.Home) (keyway.State, string) {
	if !alive(home) {
		if _, err := os.Lstat(stoppedFile(home)); err == nil {
			return keyway.Stopped, "stopped"
		}
		return keyway.Stopped, "ended by itself, was killed, or the machine was restarted"
	}
	ctx, cancel := context.WithTimeout(ctx, engine.Answer)
	defer cancel()
	conn, err := engine.Dial(ctx, home)
	if err == nil {
		err = engine.Greets(ctx, conn)
	}
	if err != nil {
		return keyway.Broken, fmt.Sprintf("runs, but its guest does not answer: %v", err)
	}
	return keyway.Running, ""
}

// stoppedFile returns the path of a file that marks a deliberate stop: nothing else records
// how the processes of a host workspace ended.
func stoppedFile(home keyway.Home) string { return filepath.Join(string(home), "stopped") }

// Stop implements engine.Engine.
func (e *Engine) Stop(ctx context.Context, name keyway.Name, grace time.Duration) error {
	if _, err := e.find(name); err != nil {
		return err // before any signal is sent: the workspace may belong to another machine
	}
	if home := e.home(name); grace == 0 && alive(home) {
		_ = sayGrace(home, 0) // also shortens a Stop that is under way
		terminate(home)
	}
	unlock, err := e.homes.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := e.find(name); err != nil {
		return err
	}
	home := e.home(name)
	if !alive(home) {
		return endNow(home)
	}
	if err := engine.GraceUntold(name, grace, sayGrace(home, grace)); err != nil {
		return err
	}
	if err := keyway.WriteFile(stoppedFile(home), nil, 0o600); err != nil {
		return err
	}
	return end(home, grace)
}

// Start implements engine.Engine.
func (e *Engine) Start(ctx context.Context, name keyway.Name) error {
	unlock, err := e.homes.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	rec, err := e.find(name)
	if err != nil {
		return err
	}
	s, home := rec.Spec, e.home(name)
	if st, _ := state(ctx, home); st == keyway.Running {
		return nil
	}
	// The remaining processes of a guest that does not answer would be in the way.
	if err := endNow(home); err != nil {
		return err
	}
	if err := workdirExists(s); err != nil {
		return err
	}
	gpus, err := e.lendAgain(ctx, s)
	if err != nil {
		return err
	}
	defer gpus.Close()
	if err := errors.Join(engine.Forget(home), e.forgetStop(home)); err != nil {
		return err
	}
	if err := e.begin(ctx, home, s, gpus, nil); err != nil {
		return errors.Join(err, endNow(home))
	}
	return nil
}

func (e *Engine) forgetStop(home keyway.Home) error {
	if err := os.Remove(stoppedFile(home)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Remove implements engine.Engine.
func (e *Engine) Remove(ctx context.Context, name keyway.Name) error {
	unlock, err := e.homes.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := e.find(name); err != nil {
		return err
	}
	return e.erase(name)
}

// Dial implements engine.Engine.
func (e *Engine) Dial(ctx context.Context, name keyway.Name) (net.Conn, error) {
	if _, err := e.find(name); err != nil {
		return nil, err
	}
	home := e.home(name)
	// A server may live for a moment after the first process has ended.
	if !alive(home) {
		_, reason := state(ctx, home)
		return nil, engine.NotRunning(name, reason)
	}
	conn, err := engine.Dial(ctx, home)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, engine.Unanswered(name, err)
}
