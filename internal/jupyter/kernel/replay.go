package kernel

import (
	"errors"
	"io"
	"slices"

	"keyway/internal/jupyter/journal"
	"keyway/internal/jupyter/notebook"
	"keyway/internal/jupyter/wire"
)

// replaying is an execution as it is at the moment at which its replay begins.
type replaying struct {
	snapshot *journal.Snapshot
	seq      uint64 // of its last message
	kernel   string
	header   []byte
	owner    bool // the client is the one to get the reply and the prompt
	ended    bool
}

// take begins the replay of an execution: all that waits of it for the client is part
// of the replay. It returns nil if the execution is forgotten or cannot be read.
func (k *Kernel) take(c *client, id string) *replaying {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.journal.Find(id)
	if e == nil {
		return nil
	}
	s, err := e.Snapshot()
	if err != nil {
		k.options.Logf("kernel %s: the journal cannot be read: %v", k.ID, err)
		return nil
	}
	c.queue = slices.DeleteFunc(c.queue, func(i item) bool {
		drop := i.replay == id || i.recorded && i.m.Origin.ID == id
		if drop {
			c.bytes -= i.m.Size()
		}
		return drop
	})
	return &replaying{snapshot: s, seq: k.last[id], kernel: e.Kernel(), header: e.Header(), owner: k.owns(e, c), ended: e.Ended}
}

func (r *replaying) forge(kind string, content any) wire.Message {
	return wire.New(r.kernel, r.header, "iopub", kind, content)
}

// closing returns the messages after the outputs. An execution that a restart has
// ended is told as aborted.
func (r *replaying) closing() (all []wire.Message) {
	s := r.snapshot
	if r.owner && s.Prompt != nil {
		all = append(all, *s.Prompt)
	}
	switch {
	case r.owner && s.Reply != nil:
		all = append(all, *s.Reply)
	case r.owner && r.ended:
		all = append(all, wire.New(r.kernel, r.header, "shell", "execute_reply", map[string]string{"status": "aborted"}))
	}
	switch {
	case s.Idle != nil:
		all = append(all, *s.Idle)
	case r.ended:
		all = append(all, r.forge("status", map[string]string{"execution_state": "idle"}))
	}
	return all
}

// unwritten reports whether a finished execution has shown something that no file has.
func unwritten(e *journal.Execution) bool { return e.Finished() && e.Running && !e.Written }

// Runs returns what the kernel has shown, to be put into a notebook that a client reads.
// What the notebook's file has already is only marked.
func (k *Kernel) Runs() []notebook.Run {
	return k.runs(map[string]int{})
}

// RunsFinished returns what has ended and is in no file, to be put into a notebook that is
// to be written, without marks; and the others without outputs, which have cells, too. said is
// for Written.
func (k *Kernel) RunsFinished() (runs []notebook.Run, said map[string]int) {
	said = map[string]int{}
	runs = k.runs(said)
	for i := range runs {
		if !runs[i].Done {
			runs[i].Outputs = nil
		}
		runs[i].Done = false
	}
	return runs, said
}

func (k *Kernel) runs(said map[string]int) (runs []notebook.Run) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.journal.Executions() {
		if !e.Running {
			continue
		}
		run := notebook.Run{ID: e.ID, Cell: e.Cell, Code: e.Code, Alike: e.Alike, Count: e.Count, Done: e.Finished()}
		if !e.Written {
			run.Outputs = func(w io.Writer) error { return k.outputs(w, e.ID, said) }
		}
		runs = append(runs, run)
	}
	return runs
}

// errForgotten is an execution that was settled while it was to be shown.
var errForgotten = errors.New("the outputs were saved meanwhile")

func (k *Kernel) outputs(w io.Writer, id string, said map[string]int) error {
	k.mu.Lock()
	e := k.journal.Find(id)
	if e == nil {
		k.mu.Unlock()
		return errForgotten
	}
	s, err := e.Snapshot()
	said[id] = e.Said
	k.mu.Unlock()
	if err != nil {
		return err
	}
	defer s.Close()
	return notebook.WriteOutputs(w, s.Messages())
}

// Settle forgets the executions that a saved notebook has: those whose marks came
// back, and those whose owner is here and has had all of them.
func (k *Kernel) Settle(marks []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range slices.Clone(k.journal.Executions()) {
		had := k.hasHad(e)
		switch {
		case e.Finished() && (had || slices.Contains(marks, e.ID)):
			k.remove(e)
		case e.Written: // by a client that has not seen it, over our file
			k.report(e.WasWritten(false))
		}
	}
}

// hasHad reports whether an owner is connected and has had all of an execution. The
// caller holds mu.
func (k *Kernel) hasHad(e *journal.Execution) bool {
	for c := range k.clients {
		if k.owns(e, c) && k.seen[c.session] >= k.last[e.ID] {
			return true
		}
	}
	return false
}

// Written notes that a notebook's file has the executions, each as far as said says: what has
// come since is written again. They are still shown to their own session, if it comes back: it
// may be about to save without them.
func (k *Kernel) Written(ids []string, said map[string]int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pause = 0
	for _, id := range ids {
		switch e := k.journal.Find(id); {
		case e == nil:
		case e.Said == said[id]:
			k.report(e.WasWritten(true))
		case len(k.clients) == 0:
			k.tellFinished()
		}
	}
}

// Unwritten reports whether there are finished executions that no file has, and no
// client is connected.
func (k *Kernel) Unwritten() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.clients) == 0 && slices.ContainsFunc(k.journal.Executions(), unwritten)
}

// Status is what a kernel does.
type Status struct {
	State   string `json:"state"`   // idle, busy or another word of the kernel's; empty until it has said one
	Running int    `json:"running"` // executions that have begun and not ended
	Queued  int    `json:"queued"`  // executions that wait for those
	Clients int    `json:"clients"` // connected pages and editors
	Kept    int64  `json:"kept"`    // bytes on disk
}

// Status returns what the kernel does now.
func (k *Kernel) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := Status{State: k.state, Clients: len(k.clients), Kept: k.journal.Size()}
	for _, e := range k.journal.Executions() {
		switch {
		case e.Finished():
		case e.Running:
			s.Running++
		default:
			s.Queued++
		}
	}
	return s
}

// Live is an execution that goes on.
type Live struct {
	ID    string `json:"msg_id"`
	Cell  string `json:"cell"`
	Code  string `json:"code"`
	Alike int    `json:"alike"` // how many cells with this code are before this one; -1: unknown
}

// Live returns the executions that have not ended, for a page that shows them again.
func (k *Kernel) Live() []Live {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := []Live{}
	for _, e := range k.journal.Executions() {
		if e.Finished() {
			continue
		}
		if code, err := e.Source(); err == nil {
			all = append(all, Live{e.ID, e.Cell, code, e.Alike})
		}
	}
	return all
}

// Resume shows an execution to a connected session from its beginning, and makes the
// session its owner if the one before is away. It reports whether both are there.
func (k *Kernel) Resume(session, id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.journal.Find(id)
	if e == nil {
		return false
	}
	for c := range k.clients {
		if c.session == session {
			if k.away(e) {
				k.adopted[e.ID] = session
			}
			c.add(item{replay: id})
			return true
		}
	}
	return false
}
