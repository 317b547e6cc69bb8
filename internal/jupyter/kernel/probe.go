package kernel

import (
	"slices"

	"keyway/internal/jupyter/wire"
)

// probe is a request to a kernel after a reconnection. Kernels serve requests in order, and send
// all messages in that order. So after its answer, no messages of earlier requests follow.
type probe struct {
	id     string
	before []string // executions
}

// lostText ends the output of a cell whose end was not received.
const lostText = "\n[keyway-jupyter has not heard the end of this cell: the kernel was asked, and has nothing more of it. If it shows nothing, run it again]\n"

// ask returns the request, if there are executions whose end may be lost. The caller holds mu.
func (k *Kernel) ask() []wire.Message {
	k.probe = probe{}
	for _, e := range k.journal.Executions() {
		if !e.Finished() && (e.Running || e.Sent || e.Tried) {
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
	if k.probe.id == "" || m.Origin.ID != k.probe.id || m.State() != "idle" {
		return false
	}
	for _, e := range k.journal.Executions() {
		if !e.Finished() && slices.Contains(k.probe.before, e.ID) {
			k.report(e.End(lostText))
			k.showAgain(e)
			finished = true
		}
	}
	k.probe = probe{}
	return finished
}
