package gpu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/sleep"
)

// Request is a request for the GPUs of a new workspace.
type Request struct {
	Holder
	GPUs keyway.GPUs
	// Told returns the GPUs of running workspaces, of every owner that the engine shows; nil: the
	// engine cannot tell.
	Told func(context.Context) ([]Holding, error)
}

// Grant are GPUs that a workspace gets. Until it is bound, its maker holds it and
// loses it with its own end. A nil Grant has none.
type Grant struct {
	Devices []Device

	place *Pool
	files []holding
	who   Holder
}

const (
	// fresh is the time for which waiting requests use the last answers of the driver and the
	// engine. Leases show workspaces that keyway starts meanwhile.
	fresh = 5 * time.Second
	// The one at the head of the queue tries again so often; each place behind it
	// adds as much again, up to the second bound.
	tryEvery = 250 * time.Millisecond
	tryMost  = 10 * time.Second
)

// Take lends GPUs for a workspace. It fails with NoGPU if they are not free, or waits for them if
// the request demands it, and reports the queue. A request for none gets a nil Grant.
func (p *Pool) Take(ctx context.Context, r Request, report func(keyway.Progress)) (*Grant, error) {
	if r.GPUs.None() {
		return nil, nil
	}
	t := try{place: p, Request: r}
	defer t.leave()
	said := ""
	for {
		if err := t.look(ctx); err != nil {
			return nil, err
		}
		grant, err := t.once(ctx)
		if err != nil || grant != nil {
			return grant, err
		}
		if news := t.news(); news != said {
			said = news
			report(keyway.Progress{Message: news})
		}
		if err := sleep.For(ctx, min(tryEvery*time.Duration(1+t.queue.count), tryMost)); err != nil {
			return nil, err
		}
	}
}

// try is a request on its way.
type try struct {
	Request
	place *Pool

	inv    Inventory // the driver's report
	told   []Holding // the engine's report
	looked time.Time // when that was

	ticket  holding // its place in the queue; nil: it has none
	name    string  // of the ticket's file
	queue   queue   // who came first, by the last attempt
	last    decision
	holders map[string]*holder
}

// look asks the driver, unless its last report is recent. The engine's answer is as old; once asks
// it when something depends on it.
func (t *try) look(ctx context.Context) (err error) {
	if !t.looked.IsZero() && time.Since(t.looked) < fresh {
		return nil
	}
	t.told = nil
	if t.inv, err = t.place.ask(ctx); err != nil {
		return err
	}
	t.looked = time.Now()
	return nil
}

// once tries to get the GPUs now. It returns neither a grant nor an error if the
// request is to wait.
func (t *try) once(ctx context.Context) (*Grant, error) {
	unlock, err := t.place.store.lock(ctx)
	if err != nil {
		return nil, unusable(err)
	}
	defer unlock()
	if t.queue, err = t.place.waiting(t.name); err != nil {
		return nil, unusable(err)
	}
	if t.ticket != nil && t.queue.closed {
		t.last = decision{queued: true}
		return nil, nil // whichever GPUs are free, it is not this request's turn
	}
	if err := t.decide(); err != nil {
		return nil, err
	}
	if t.Told != nil && (t.last.granted() || !t.GPUs.Wait) {
		// Only under the lock: a workspace that got GPUs a moment ago has no lease if this
		// machine does not see its processes. A refusal names all that hold some.
		if t.told, err = t.Told(ctx); err != nil {
			return nil, err
		}
		if err := t.decide(); err != nil {
			return nil, err
		}
	}
	switch {
	case t.last.granted():
		return t.place.grant(t.last.devices, t.Holder)
	case !t.GPUs.Wait:
		return nil, t.place.refusal(t.GPUs, t.last, t.holders, t.queue.count)
	case t.ticket == nil:
		return nil, unusable(t.join())
	}
	return nil, nil
}

// decide decides about the request, by the present reports. The caller has the store's lock.
func (t *try) decide() (err error) {
	if t.holders, err = t.place.holders(t.inv.Devices, t.told); err != nil {
		return unusable(err)
	}
	t.last, err = decide(t.inv, t.GPUs, t.holders, t.queue.wishes)
	return err
}

// grant holds the leases of devices. The caller has the store's lock.
func (p *Pool) grant(devices []Device, who Holder) (_ *Grant, err error) {
	g := &Grant{Devices: devices, place: p, who: who}
	defer func() {
		if err != nil {
			g.Close()
			err = unusable(err)
		}
	}()
	for _, d := range devices {
		f, err := p.store.hold(leaseFile(d.UUID))
		if err != nil {
			return nil, err
		}
		g.files = append(g.files, f)
		if err := writeJSON(f, lease{Holder: who}); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// Claim leases GPUs to a workspace that already has them without a request here, for as long as the
// process runs. GPUs of another holder's lease stay with it.
func (p *Pool) Claim(ctx context.Context, who Holder, has keyway.GPUs, pid int) error {
	inv, err := p.ask(ctx)
	if err != nil {
		return err
	}
	unlock, err := p.store.lock(ctx)
	if err != nil {
		return unusable(err)
	}
	defer unlock()
	var devices []Device
	for n, d := range inv.Devices {
		if d.UUID == "" || !(Holding{Asked: has}).has(n, d) {
			continue
		}
		other, err := p.holderOf(d.UUID)
		if err != nil {
			return unusable(err)
		}
		if other == nil {
			devices = append(devices, d)
		}
	}
	g, err := p.grant(devices, who)
	if err != nil {
		return err
	}
	defer g.Close()
	return g.Bind(pid)
}

// UUIDs returns the UUIDs of the devices.
func (g *Grant) UUIDs() []string {
	if g == nil {
		return nil
	}
	ids := make([]string, len(g.Devices))
	for i, d := range g.Devices {
		ids[i] = d.UUID
	}
	return ids
}

// Bind makes the GPUs those of the workspace whose first process is pid, for as long
// as that lives. The caller has the workspace wait with all that it does until Bind
// has returned: if the caller dies before, the process must end. pid is 0 where the
// engine's processes are not this machine's: then only the engine knows their holders.
// A second Bind takes the place of the first, until Close.
func (g *Grant) Bind(pid int) error {
	if g == nil {
		return nil
	}
	l := lease{Holder: g.who, PID: pid, Boot: g.place.procs.boot()}
	if pid > 0 {
		if l.Start = g.place.procs.start(pid); l.Start == "" {
			return keyway.Errorf(keyway.GuestFailed, "the workspace's first process has ended before it had its GPUs")
		}
	}
	for _, f := range g.files {
		if err := writeJSON(f, l); err != nil {
			return unusable(err)
		}
	}
	return nil
}

// Close releases the leases that are not bound to a running process. It may be called twice.
func (g *Grant) Close() {
	if g == nil {
		return
	}
	for _, f := range g.files {
		f.release(false)
	}
}

// unusable returns the error for leases that cannot be read or written.
func unusable(err error) error {
	var said *keyway.Error
	switch {
	case err == nil, errors.As(err, &said), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return keyway.Errorf(keyway.NoGPU, "the GPU leases of this place cannot be read or written: %w", err).
		Hint("see whether the disk is full, or whose the file is: ls -l /run/lock/keyway-gpus /tmp/keyway-gpus")
}

func writeJSON(f holding, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return f.write(data)
}

// news returns the message for a waiting request.
func (t *try) news() string {
	if q := t.queue; q.count > 0 {
		return fmt.Sprintf("waiting for GPUs (%s): %d in the queue before this one, the next is %s of %s",
			t.GPUs, q.count, q.next.Workspace, people(q.next.Owner))
	}
	return fmt.Sprintf("waiting for GPUs (%s): next in the queue; %s", t.GPUs, t.place.taken(t.last.taken, t.holders))
}
