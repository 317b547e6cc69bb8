package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/keyway"
)

// lookers bounds the workspaces that are looked into at once.
const lookers = 16

// List implements engine.Engine.
func (e *Engine) List(ctx context.Context) ([]keyway.Workspace, error) {
	if _, err := e.client.Identify(ctx); err != nil {
		return nil, err
	}
	filter := make(client.Filters).Add("label", labelOwner+"="+e.owner, labelName)
	found, err := e.client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filter})
	if err != nil {
		return nil, e.client.Explain(ctx, err)
	}
	list := e.lookInto(ctx, found.Items, e.adopted())
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b keyway.Workspace) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// lookInto describes the containers that are workspaces, made or adopted, several at once: a guest
// that does not answer takes time.
func (e *Engine) lookInto(ctx context.Context, items []container.Summary, adopted []engine.Record) []keyway.Workspace {
	var looks []func() *keyway.Workspace
	for _, c := range items {
		if len(c.Names) == 0 {
			continue
		}
		m, err := e.parseLabels(c.ID, c.Names[0], c.Labels)
		if err != nil {
			continue
		}
		m.image = c.ImageID
		e.recall(&m, c.Labels)
		_, taken := e.isAdopted(m.spec.Name)
		if taken || e.homes.Mistaken(ctx, m.rec, m.spec.Name, e) != nil { // that name means another container
			continue
		}
		looks = append(looks, func() *keyway.Workspace { return e.describe(ctx, m, c) })
	}
	for _, rec := range adopted {
		looks = append(looks, func() *keyway.Workspace { return e.describeAdopted(ctx, rec) })
	}
	found := make([]*keyway.Workspace, len(looks))
	free := make(chan struct{}, lookers)
	var all sync.WaitGroup
	for i, look := range looks {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			found[i] = look()
		})
	}
	all.Wait()
	list := []keyway.Workspace{}
	for _, w := range found {
		if w != nil {
			list = append(list, *w)
		}
	}
	return list
}

func (e *Engine) describe(ctx context.Context, m made, c container.Summary) *keyway.Workspace {
	state, reason, info := keyway.Broken, "", keyway.GuestInfo{}
	switch c.State {
	case container.StateRunning:
		state, reason, info = e.look(ctx, m)
	case container.StatePaused:
		reason = "paused"
	case container.StateRestarting:
		reason = "restarting"
	case container.StateRemoving:
		reason = "being removed"
	default:
		state, reason = e.standsStill(ctx, m)
	}
	if reason == gone {
		return nil
	}
	if info.User == "" && m.mode == modeBind {
		info, _ = engine.Info(m.home)
	}
	if reason == "" && m.isOld() {
		reason = oldReason
	}
	w := e.workspace(m, state, reason, info, time.Unix(c.Created, 0))
	w.Sessions = e.sessions(ctx, m, state)
	switch {
	case c.State == container.StatePaused:
		w.Next = keyway.GoOn
	case reason == startedOutside, reason == daemon.NoGuest:
		w.Next = keyway.StartNow
	case reason == engine.HalfMade:
		w.Next = keyway.FinishOrRemove
	}
	return &w
}

// oldReason is the reason shown for a workspace that an older keyway has made.
const oldReason = "made by an older keyway: the workspace itself chose its host key; make it again when you can"

// isOld reports whether an older keyway made the workspace. Its guest keeps its sessions in the
// Home itself and makes its own host key.
func (m made) isOld() bool { return m.mode == modeBind && m.rec.HostKey == "" }

// gone is the reason for a workspace that was removed while it was being inspected.
const gone = "gone"

// standsStill returns the state of a workspace whose container does not run, and the reason.
func (e *Engine) standsStill(ctx context.Context, m made) (state keyway.State, reason string) {
	c, err := e.client.ContainerInspect(ctx, m.id, client.ContainerInspectOptions{})
	switch st := c.Container.State; {
	case daemon.IsNotFound(err):
		return keyway.Stopped, gone
	case err != nil:
		return keyway.Stopped, daemon.Says(err)
	case st == nil:
		return keyway.Stopped, ""
	case halfMade(st) && e.underWay(m.spec.Name):
		return keyway.Broken, "being made"
	case halfMade(st):
		return keyway.Broken, engine.HalfMade
	default:
		return keyway.Stopped, daemon.ExitReason(st, len(m.spec.Command) > 0)
	}
}

// answerByExec is the time that a guest has to greet if it is reached by programs that its daemon
// starts: on a busy machine, each of them takes seconds.
const answerByExec = 5 * engine.Answer

// look checks whether a running container's guest answers.
func (e *Engine) look(ctx context.Context, m made) (keyway.State, string, keyway.GuestInfo) {
	patience := engine.Answer
	if m.mode == modeExec {
		patience = answerByExec
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var info keyway.GuestInfo
	var err error
	if m.mode == modeExec {
		info, err = e.in(m).Info(ctx)
	}
	if err == nil {
		err = e.greets(ctx, m)
	}
	switch {
	case err == nil:
		return keyway.Running, "", info
	case e.waitsForKey(ctx, m, err):
		return keyway.Broken, startedOutside, info
	case errors.Is(err, fs.ErrNotExist):
		return keyway.Broken, "runs, but its guest does not serve (yet)", info
	case errors.Is(err, context.DeadlineExceeded):
		return keyway.Broken, fmt.Sprintf("runs, but its guest does not answer within %v", patience), info
	}
	return keyway.Broken, "runs, but its guest does not answer: " + err.Error(), info
}

// startedOutside is the reason shown for a container that was started by other means: its guest serves when
// keyway start has given it the host key.
const startedOutside = "started by other means, and its guest waits for the host key"

// waitsForKey reports whether the guest of a running container has no host key, as err of a connection to it
// suggests. While keyway starts the workspace, it is about to get one.
func (e *Engine) waitsForKey(ctx context.Context, m made, err error) bool {
	if m.rec.Adopted || m.isOld() || e.underWay(m.spec.Name) {
		return false
	}
	if m.mode == modeExec {
		return e.in(m).NobodyServes(ctx)
	}
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
}

func (e *Engine) greets(ctx context.Context, m made) error {
	conn, err := e.dial(ctx, m)
	if err != nil {
		return err
	}
	return engine.Greets(ctx, conn)
}

// workspace describes a workspace without sessions, such as a new one.
func (e *Engine) workspace(m made, state keyway.State, reason string, info keyway.GuestInfo, created time.Time) keyway.Workspace {
	info.HostKey = m.rec.HostKey // the guest's own word does not count
	return keyway.Workspace{
		Name: m.spec.Name, Engine: e.Name(), Image: m.spec.Image, State: state, Reason: reason, GPUs: m.spec.GPUs,
		Created: created.UTC().Truncate(time.Second), ForwardAgent: m.spec.ForwardAgent, Guest: info,
		Origin: m.spec.Origin, Container: m.container,
	}
}

// sessions counts the living sessions of a workspace; -1 if unknown. If their directory belongs to
// another user or is not here, the workspace is asked.
func (e *Engine) sessions(ctx context.Context, m made, state keyway.State) int {
	if state == keyway.Stopped {
		return 0 // nothing outlives the container
	}
	data := m.rec.Data
	if m.isOld() {
		data = string(m.home)
	}
	if n := engine.Sessions(data); n >= 0 || state != keyway.Running {
		return n
	}
	return e.in(m).Sessions(ctx)
}
