//go:build linux

package holder

import "time"

// A job waits only for readers that must have all of its output: the display of its terminal, and
// viewers whose output goes to a pipe or a file. They may be behind by half of the log's capacity,
// or by the output in memory that the log lacks.

// waiter is a reader of an output that makes the job wait.
type waiter struct {
	output *output
	at     uint64 // offset that it has read to; guarded by output.mu
}

// waitFor makes the job wait for a reader that has read up to an offset.
func (o *output) waitFor(at uint64) *waiter {
	w := &waiter{output: o, at: at}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiters[w] = true
	return w
}

// passed notes that w has read up to an offset.
func (w *waiter) passed(at uint64) {
	w.output.mu.Lock()
	defer w.output.mu.Unlock()
	w.at = at
	w.output.caught.Broadcast()
}

// offset returns the offset that w has read to.
func (w *waiter) offset() uint64 {
	w.output.mu.Lock()
	defer w.output.mu.Unlock()
	return w.at
}

// stop makes the job wait for w no longer. It may be called twice.
func (w *waiter) stop() {
	w.output.mu.Lock()
	defer w.output.mu.Unlock()
	delete(w.output.waiters, w)
	w.output.caught.Broadcast()
}

// returns is the time that a job waits for a viewer that is about to connect: the viewer that has
// just started it, or one whose connection ended when the holder was renewed.
const returns = 10 * time.Second

// arrived makes the job wait for a viewer that has connected, instead of its process.
func (vs *viewers) arrived(v *viewer, at uint64) {
	v.waiter = vs.output.waitFor(at)
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if w := vs.coming[v.pid]; w != nil {
		w.stop()
		delete(vs.coming, v.pid)
	}
}

// parted ends the wait with the connection. A viewer that was disconnected by a renewal will
// connect again.
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

// expect makes the job wait for a process that is about to connect.
func (vs *viewers) expect(pid int32, w *waiter) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if before := vs.coming[pid]; before != nil {
		before.stop()
	}
	vs.coming[pid] = w
	time.AfterFunc(returns, w.stop) // has no effect once it has connected
}

// room waits until more of the job's output can be read without discarding bytes that a waiting
// reader has not read.
func (o *output) room() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.free && !o.roomLocked() {
		o.caught.Wait()
	}
}

// release ends all waiting: the job has ended, and the rest in its pipes is small.
func (o *output) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.free = true
	o.caught.Broadcast()
}

// between bounds the bytes that are appended from one room to the next: each output is drained by a
// goroutine of its own.
const (
	drains       = 2
	between      = drains * drainBuffer
	betweenMarks = 2 * drains // each with a lost stretch before it
)

func (o *output) roomLocked() bool {
	need := o.neededLocked()
	return o.ring.end-need <= o.maxLag() && (need == o.ring.end || need >= o.log.Keeps(between, betweenMarks))
}

// neededLocked returns the offset from which on the output must be kept.
func (o *output) neededLocked() uint64 {
	need := min(o.follower, o.ring.end)
	for w := range o.waiters {
		need = min(need, w.at)
	}
	return need
}

// maxLag returns the number of bytes that the slowest waiting reader may be behind.
func (o *output) maxLag() uint64 {
	if o.inMemoryLocked() {
		return ringLimit
	}
	return o.log.Capacity() / 2
}

// inMemoryLocked reports whether output that is still needed is not in the log.
func (o *output) inMemoryLocked() bool {
	return o.log.Lacks(o.neededLocked())
}
