//go:build linux

package holder

import "time"

// A job waits for nobody but those who must have all of its output: the display of
// its terminal, and whoever runs it with the output in a pipe or a file. They may be
// behind by half of what the log keeps, or by what is in memory of what it lacks.

// waiter is a reader of an output that the job waits for.
type waiter struct {
	output *output
	at     uint64 // up to where it has read; guarded by output.mu
}

// waitFor has the job wait for a reader that has read up to an offset.
func (o *output) waitFor(at uint64) *waiter {
	w := &waiter{output: o, at: at}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiters[w] = true
	return w
}

// passed says up to where w has read.
func (w *waiter) passed(at uint64) {
	w.output.mu.Lock()
	defer w.output.mu.Unlock()
	w.at = at
	w.output.caught.Broadcast()
}

// offset is up to where w has read.
func (w *waiter) offset() uint64 {
	w.output.mu.Lock()
	defer w.output.mu.Unlock()
	return w.at
}

// stop has nobody wait for w any more. It may be called again.
func (w *waiter) stop() {
	w.output.mu.Lock()
	defer w.output.mu.Unlock()
	delete(w.output.waiters, w)
	w.output.caught.Broadcast()
}

// returns is how long a job waits for somebody who is about to connect: the one who
// has just started it, or whose connection ended when the holder was renewed.
const returns = 10 * time.Second

// arrived has the job wait for a viewer that connects, no longer for its process.
func (vs *viewers) arrived(v *viewer, at uint64) {
	v.waiter = vs.output.waitFor(at)
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if w := vs.coming[v.pid]; w != nil {
		w.stop()
		delete(vs.coming, v.pid)
	}
}

// parted ends it with the connection. One who was sent away will be here again.
func (vs *viewers) parted(v *viewer) {
	if v.waiter == nil {
		return
	}
	vs.mu.Lock()
	left := v.left
	vs.mu.Unlock()
	if left {
		vs.expect(v.pid, v.waiter)
	} else {
		v.waiter.stop()
	}
}

// expect has the job wait for a process that is about to connect.
func (vs *viewers) expect(pid int32, w *waiter) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if before := vs.coming[pid]; before != nil {
		before.stop()
	}
	vs.coming[pid] = w
	time.AfterFunc(returns, w.stop) // which means nothing once it has connected
}

// room waits until the job's output can be read on without taking from those who
// need it what they have not read.
func (o *output) room() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.free && !o.roomLocked() {
		o.caught.Wait()
	}
}

// release ends all waiting: the job has, and what it left in its pipes is little.
func (o *output) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.free = true
	o.caught.Broadcast()
}

// between bounds what is appended between room and the next: each output is drained
// by a goroutine of its own.
const (
	drains       = 2
	between      = drains * drainBuffer
	betweenMarks = 2 * drains // with a lost stretch before
)

func (o *output) roomLocked() bool {
	need := o.neededLocked()
	return o.ring.end-need <= o.maxLag() && (need == o.ring.end || need >= o.log.Keeps(between, betweenMarks))
}

// neededLocked is from where on the output must be kept.
func (o *output) neededLocked() uint64 {
	need := min(o.follower, o.ring.end)
	for w := range o.waiters {
		need = min(need, w.at)
	}
	return need
}

// maxLag is how far the slowest of those who are waited for may be behind.
func (o *output) maxLag() uint64 {
	if o.inMemoryLocked() {
		return ringLimit
	}
	return o.log.Capacity() / 2
}

// inMemoryLocked reports whether something that is needed is not in the log.
func (o *output) inMemoryLocked() bool {
	return o.log.Lacks(o.neededLocked())
}
