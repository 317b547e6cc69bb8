package kernel

import (
	"slices"

	"keyway/internal/jupyter/wire"
)

// probe is a question to a kernel with which the connection was made anew. Kernels serve
// requests in order, and so is what they say to all: after the answer, nothing comes of
// what was asked before.
type probe struct {
	id     string
	before []string // executions
}

// lostText is the end of what a cell shows whose end was not heard.
const lostText = "\n[keyway-jupyter has not heard the end of this cell: the kernel was asked, and has nothing more of it. If it shows nothing, run it again]\n"

// ask returns the question, if there are executions whose end may be lost. The caller
// holds mu.
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
