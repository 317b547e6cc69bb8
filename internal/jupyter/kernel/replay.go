package kernel

import (
	"errors"
	"io"
	"slices"

	"keyway/internal/jupyter/journal"
	"keyway/internal/jupyter/notebook"
	"keyway/internal/jupyter/wire"
)

// replaying is the state of an execution at the beginning of its replay.
type replaying struct {
	snapshot *journal.Snapshot
	seq      uint64 // of its last message
	kernel   string
	header   []byte
	owner    bool // the client owns the execution, and gets the reply and the prompt
	ended    bool
}

// take begins the replay of an execution. The replay contains all messages of it that wait for the
// client. take returns nil if the execution was removed or cannot be read.
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

// closing returns the messages after the outputs. An execution that a restart has ended gets the
// reply "aborted".
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

// unwritten reports whether a finished execution has outputs that no file has.
func unwritten(e *journal.Execution) bool { return e.Finished() && e.Running && !e.Written }

// Runs returns the executions for a notebook that a client reads. An execution whose outputs the
// file has comes without outputs, and is only marked.
func (k *Kernel) Runs() []notebook.Run {
	return k.runs(map[string]int{})
}

// RunsFinished returns the executions for a notebook that is to be written, without marks. Only
// finished executions that no file has come with outputs; the others take part in the search for
// cells. said is the argument of Written.
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

// Source returns the source that an execution has run.
func (k *Kernel) Source(id string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.journal.Find(id)
	if e == nil {
		return "", errForgotten
	}
	return e.Source()
}

// errForgotten means that an execution was removed before its outputs were read.
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

// Settle removes the executions that a saved notebook has: those whose marks the client has sent
// back, and those whose owner is connected and has received everything.
func (k *Kernel) Settle(marks []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range slices.Clone(k.journal.Executions()) {
		had := k.hasHad(e)
		switch {
		case e.Finished() && (had || slices.Contains(marks, e.ID)):
			k.remove(e)
		case e.Written: // a client without these outputs has saved over the written file
			k.report(e.WasWritten(false))
		}
	}
}

// hasHad reports whether an owner of an execution is connected and has received all its messages.
// The caller holds mu.
func (k *Kernel) hasHad(e *journal.Execution) bool {
	for c := range k.clients {
		if k.owns(e, c) && k.seen[c.session] >= k.last[e.ID] {
			return true
		}
	}
	return false
}

// Written records that a notebook's file has the executions, each up to the output that said gives.
// Later outputs are written again. The executions are kept for their own session: if it comes back,
// it may save the notebook without them.
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

// Unwritten reports whether there are finished executions that no file has, and no client is
// connected.
func (k *Kernel) Unwritten() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.clients) == 0 && slices.ContainsFunc(k.journal.Executions(), unwritten)
}

// Status is the state of a kernel.
type Status struct {
	State   string `json:"state"`   // idle, busy or another state that the kernel reports; empty until the first report
	Running int    `json:"running"` // executions that have begun and have not ended
	Queued  int    `json:"queued"`  // executions that wait for these
	Clients int    `json:"clients"` // connected pages and editors
	Kept    int64  `json:"kept"`    // bytes on disk
}

// Status returns the present state of the kernel.
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

// Live is an execution that has not ended.
type Live struct {
	ID    string `json:"msg_id"`
	Cell  string `json:"cell"`
	Code  string `json:"code"`
	Alike int    `json:"alike"` // number of cells with this code before this one; -1: unknown
}

// Live returns the executions that have not ended, so that a page can show them again.
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

// Resume shows an execution from its beginning to a connected session. If no owner of the execution
// is connected, the session becomes its owner. Resume reports whether the session and the execution
// exist.
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
