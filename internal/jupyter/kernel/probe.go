package kernel

import (
	"slices"
	"time"

	"keyway/internal/jupyter/journal"
	"keyway/internal/jupyter/wire"
	"keyway/internal/sleep"
)

// probe is a request to a kernel which tells whether ends of executions are lost. Kernels serve
// requests in order, and send all messages of a channel in that order. So after its answer, no
// messages of earlier requests follow.
type probe struct {
	id      string
	before  []string // executions
	replied bool     // the reply has come,
	idle    bool     // and so has the status after it, unless it is lost
}

// probing is the state of the search for lost messages.
type probing struct {
	probe    probe
	watching bool // watchEnds runs
	numbers  numbering
}

// lostText ends the output of a cell whose end was not received.
const lostText = "\n[keyway-jupyter has not heard the end of this cell: the kernel was asked, and has nothing more of it. If it shows nothing, run it again]\n"

// unheard reports whether the end of an execution may be lost because the connection was replaced.
func unheard(e *journal.Execution) bool {
	return !e.Finished() && (e.Running || e.Sent || e.Tried) || halfEnded(e)
}

// cut is unheard for a connection that an earlier program has left: that program may not have
// received an answer.
func cut(e *journal.Execution) bool { return e.Cut && unheard(e) }

// halfEnded reports whether only one of the two messages that end an execution has come: the reply
// or the status.
func halfEnded(e *journal.Execution) bool { return !e.Ended && e.Replied != e.Idle }

// ask returns a request if there are executions whose end may be lost; otherwise nil. The caller
// holds mu.
func (k *Kernel) ask(lost func(*journal.Execution) bool) []wire.Message {
	k.probe.id, k.probe.replied, k.probe.idle = "", false, false
	for _, e := range k.journal.Executions() {
		if lost(e) && !slices.Contains(k.probe.before, e.ID) {
			k.probe.before = append(k.probe.before, e.ID)
		}
	}
	if len(k.probe.before) == 0 {
		return nil
	}
	m := wire.New("keyway", []byte("{}"), "shell", "kernel_info_request", struct{}{})
	k.probe.id = m.Head.ID
	return []wire.Message{m}
}

// answered ends the executions whose end is lost. The caller holds mu.
func (k *Kernel) answered(m wire.Message) (finished bool) {
	if k.probe.id == "" || m.Origin.ID != k.probe.id {
		return false
	}
	isReply, isIdle := m.Channel == "shell", m.State() == "idle"
	k.probe.replied, k.probe.idle = k.probe.replied || isReply, k.probe.idle || isIdle
	for _, e := range k.journal.Executions() {
		lost := isIdle && !e.Finished() || isReply && e.Idle && halfEnded(e)
		if !lost || !slices.Contains(k.probe.before, e.ID) {
			continue
		}
		notice := lostText
		if e.Idle {
			notice = "" // the output is complete
		}
		finished = finished || !e.Finished()
		k.report(e.End(notice))
		k.showAgain(e)
	}
	if k.probe.replied && k.probe.idle {
		k.probe = probe{}
	}
	return finished
}

// endTime is the time within which both messages that end an execution come. They travel on two
// sockets. A kernel that says more than the Jupyter server can read, as on a busy machine, drops
// messages of the one for outputs and states (ZeroMQ's limit of 1,000 messages). It drops no reply.
const endTime = 10 * time.Second

// watchEnds asks the kernel if an execution stays half ended for endTime. The caller holds mu.
func (k *Kernel) watchEnds() {
	if k.watching || k.closed || !slices.ContainsFunc(k.journal.Executions(), halfEnded) {
		return
	}
	k.watching = true
	k.work.Go(func() {
		for sleep.For(k.ctx, endTime) == nil && k.askForEnds() {
		}
	})
}

// askForEnds queues the request, unless the kernel has one already. It reports whether to look
// again.
func (k *Kernel) askForEnds() (again bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	again = !k.closed && slices.ContainsFunc(k.journal.Executions(), halfEnded)
	k.watching = again
	if again && (k.probe.id == "" || k.probe.replied) {
		k.outgoing = append(k.outgoing, k.ask(halfEnded)...)
		k.wake.Broadcast()
	}
	return again
}
