// Package kernel holds one connection to each Jupyter kernel for as long as the kernel lives. It
// writes the kernel's messages to the journal and sends them to clients: at once to those that are
// connected, and later to those that come back.
//
// To the Jupyter server, all clients of a kernel are one client, whose session never changes. The
// server's own buffer therefore works for keyway: while this program does not run, the server keeps
// the kernel's messages for the next connection of the same session.
package kernel

import (
	"context"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"keyway/internal/jupyter/journal"
	"keyway/internal/jupyter/wire"
	"keyway/internal/sleep"
)

const (
	// maxOutgoing bounds the bytes of the requests that wait for the kernel.
	maxOutgoing = 64 << 20
	// maxSessions bounds the sessions whose receipts are remembered.
	maxSessions = 1000
	// maxRedial is the longest pause between two attempts to reach the Jupyter server.
	maxRedial = 5 * time.Second
)

// Options has the journal's directory, the functions that reach the Jupyter server, and the times
// of a kernel.
type Options struct {
	Dir    string // of the journal
	Limits journal.Limits
	// Left means that an earlier program has left the connection that the first Dial returns.
	Left bool
	// Dial opens the kernel's websocket under a session's name. After an error, the response may be
	// nil.
	Dial func(ctx context.Context, session string) (*websocket.Conn, *http.Response, error)
	Logf func(format string, args ...any)
	// Finished is called when executions end, unless they were short and a client is connected.
	// Connect calls it if the journal has such executions. It may call the kernel's methods.
	Finished func(*Kernel)
	// Long is the shortest duration of an execution that is not short.
	Long time.Duration

	// Gap is the time from the first message to a new session to its replay; Again is the time
	// until both are repeated. Editors that resume a cell begin to listen at the first message, and
	// lose messages that come earlier.
	Gap, Again time.Duration
}

// Kernel is a kernel with its journal and its clients. Its methods are safe for concurrent use.
type Kernel struct {
	ID      string
	options Options

	mu       sync.Mutex
	journal  *journal.Journal
	last     map[string]uint64 // by execution: number of its last message
	adopted  map[string]string // by execution: the session that owns it instead of its own
	seen     map[string]uint64 // by session: the client has received all messages up to this number
	seq      uint64
	clients  map[*client]bool
	unsent   []string // executions of an earlier program whose requests it may not have sent
	outgoing []wire.Message
	waiting  int // bytes of outgoing
	wake     *sync.Cond
	closed   bool
	state    string
	failing  bool // the last write to the journal failed
	finishing
	probing

	session string // of the connection; only run uses it

	life
}

// life is the state that lasts until Close.
type life struct {
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// finishing is the state of the calls of Finished.
type finishing struct {
	telling bool // a call is running,
	again   bool // and another is to follow
	trying  bool // a call is to follow after a pause:
	pause   time.Duration
}

// Connect begins to connect. It must be called once. It calls ended when the Jupyter server does not
// have the kernel any more.
func (k *Kernel) Connect(ended func(*Kernel)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if slices.ContainsFunc(k.journal.Executions(), func(e *journal.Execution) bool {
		return unwritten(e) || e.Finished() && !e.Told && e.Took() >= k.options.Long
	}) {
		k.tellFinished()
	}
	k.work.Go(func() {
		if k.run(k.ctx) {
			ended(k)
		}
	})
}

// Read reads the journal of a kernel without connecting to it.
func Read(id string, o Options) (*Kernel, error) {
	j, err := journal.Open(o.Dir, o.Limits, o.Left)
	if err != nil {
		return nil, err
	}
	k := &Kernel{ID: id, options: o, journal: j, last: map[string]uint64{}, adopted: map[string]string{}, seen: map[string]uint64{}, seq: 1,
		clients: map[*client]bool{}}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	k.wake = sync.NewCond(&k.mu)
	for _, e := range j.Executions() {
		k.last[e.ID] = k.seq
		if !e.Sent && !e.Running && !e.Finished() {
			k.unsent = append(k.unsent, e.ID)
		}
	}
	return k, nil
}

// Close ends the connections. The journal stays. It must not be called by ended.
func (k *Kernel) Close() {
	k.shut()
	k.work.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.journal.Close()
}

// Leave ends the connections of a kernel that has ended. The journal stays.
func (k *Kernel) Leave() {
	k.shut()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.journal.Close()
}

// Forget removes the journal of a kernel that has ended.
func (k *Kernel) Forget() error {
	k.shut()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.journal.Delete()
}

func (k *Kernel) shut() {
	k.cancel()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	k.wake.Broadcast()
	for c := range k.clients {
		c.end()
	}
}

// fromKernel writes messages to the journal and sends them to the clients. The mark is that of all
// messages. With again, an earlier program has written the messages of the executions that have
// this mark. fromKernel releases the messages.
func (k *Kernel) fromKernel(messages []wire.Message, mark journal.Mark, again bool) {
	if len(messages) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	batch := k.numbers.tellMissing(messages)
	finished, half := false, false
	had := k.had(batch, mark, again)
	updated := map[int][]*journal.Execution{} // by message: other executions that it changes
	for i, m := range batch {
		if beginsAnew(m.State()) {
			k.journal.ForgetDisplays()
		}
		if e := k.journal.Find(m.Origin.ID); e != nil && !had[e.ID] {
			was, written := e.Finished(), e.Written
			batch[i] = e.Queue(m)
			half = half || halfEnded(e)
			finished = finished || !was && e.Finished() && (len(k.clients) == 0 || e.Took() >= k.options.Long) || written && !e.Written
		}
		others := k.journal.Updates(m)
		if len(others) > 0 {
			updated[i] = others
		}
		for _, e := range others {
			if again && e.Mark == mark {
				continue
			}
			written := e.Written
			e.QueueUpdate(m)
			finished = finished || written
		}
	}
	k.report(k.journal.Flush(mark))
	for i, m := range batch {
		finished = k.note(m) || k.answered(m) || finished
		if !had[m.Origin.ID] {
			k.handOn(m, updated[i])
		}
	}
	if finished {
		k.tellFinished()
	}
	if half {
		k.watchEnds()
	}
	release(batch)
	clear(messages) // batch is another slice if messages are missing
}

// largeBatch is the size, in bytes, of a batch whose memory is returned to the operating system at
// once. Clients read such messages from disk and need the memory.
const largeBatch = maxQueue

// release drops the references to messages.
func release(batch []wire.Message) {
	size := 0
	for _, m := range batch {
		size += m.Size()
	}
	if clear(batch); size > largeBatch {
		debug.FreeOSMemory()
	}
}

// had returns the executions of the batch whose messages an earlier program has written to the
// journal. Clients get these messages from the journal. The caller holds mu.
func (k *Kernel) had(batch []wire.Message, mark journal.Mark, again bool) map[string]bool {
	if !again {
		return nil
	}
	all := map[string]bool{}
	for _, m := range batch {
		if e := k.journal.Find(m.Origin.ID); e != nil {
			all[e.ID] = e.Mark == mark
		}
	}
	return all
}

// note updates the kernel's state from a message. It reports whether the message has ended
// executions of which no client knows yet. The caller holds mu.
func (k *Kernel) note(m wire.Message) (finished bool) {
	state := m.State()
	if state != "" {
		k.state = state
	}
	return beginsAnew(state) && k.endAll("")
}

// beginsAnew reports whether a kernel with this state has lost all earlier executions.
func beginsAnew(state string) bool {
	return state == "restarting" || state == "dead" || state == "autorestarting"
}

// handOn queues a message for the clients, and notes its number for the other executions that it
// changes. In place of a long text, clients get its execution again, from disk, so that none of them holds
// the text in memory while it is slow. The caller holds mu.
func (k *Kernel) handOn(m wire.Message, updated []*journal.Execution) {
	k.seq++
	e := k.journal.Find(m.Origin.ID)
	if e != nil {
		k.last[e.ID] = k.seq
	}
	for _, o := range updated {
		k.last[o.ID] = k.seq
	}
	i := item{m: m, seq: k.seq, recorded: e != nil}
	if e != nil && m.Head.Type == "stream" && m.Size() > maxQueue && !k.failing {
		i = item{replay: e.ID}
	}
	for c := range k.clients {
		if m.Channel == "iopub" || e == nil && c.is(m.Origin.Session) || e != nil && k.owns(e, c) {
			c.add(i)
		}
	}
}

// maxPause is the longest pause between two attempts to write a file.
const maxPause = time.Hour

// TryAgain calls Finished after a pause, unless a client is connected then. It is for a file that
// could not be written. The first pause is least; each further one is twice as long, up to
// maxPause, until a file was written.
func (k *Kernel) TryAgain(least time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.trying {
		return
	}
	k.trying, k.pause = true, min(max(2*k.pause, least), maxPause)
	pause := k.pause
	k.work.Go(func() {
		if sleep.For(k.ctx, pause) != nil {
			return // closed
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.trying = false; len(k.clients) == 0 {
			k.tellFinished()
		}
	})
}

// tellFinished calls Finished in the background, and again if executions end during the call. The
// caller holds mu.
func (k *Kernel) tellFinished() {
	if k.again = k.telling; k.closed || k.telling {
		return
	}
	k.telling = true
	k.work.Go(func() {
		for k.tellOnce() {
		}
	})
}

func (k *Kernel) tellOnce() (again bool) {
	k.options.Finished(k)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.telling, k.again = k.again && !k.closed, false
	return k.telling
}

// report logs that the journal cannot be written, once until a write succeeds, and starts further
// attempts. The caller holds mu.
func (k *Kernel) report(err error) {
	if err != nil && !k.failing {
		k.options.Logf("kernel %s: output cannot be written down: %d MB of it are kept in memory, and what is more is left out: %v", k.ID, k.options.Limits.Owed>>20, err)
		time.AfterFunc(retryPause, k.retry) // does nothing after Close
	}
	k.failing = err != nil
}

// retryPause is the time between attempts at a journal that cannot be written.
const retryPause = 2 * time.Second

func (k *Kernel) retry() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.closed && k.failing {
		k.failing = k.journal.Retry() != nil
	}
	if !k.closed && k.failing {
		time.AfterFunc(retryPause, k.retry)
	}
}

// endAll ends the executions that a restarted kernel does not know, or those of a kernel that has
// ended. The notice is empty after a restart. The caller holds mu.
func (k *Kernel) endAll(notice string) (some bool) {
	for _, e := range k.journal.Executions() {
		if !e.Finished() {
			k.report(e.End(notice))
			some = true
		}
	}
	return some
}

// Restarted records that the kernel was restarted, which ends all its executions.
func (k *Kernel) Restarted() {
	k.mu.Lock()
	defer k.mu.Unlock()
	some := k.endAll("")
	k.journal.ForgetDisplays()
	k.report(k.journal.Retry())
	for _, e := range k.journal.Executions() {
		if e.Ended && !e.Told {
			k.report(e.WasTold()) // the client that requested the restart knows
		}
	}
	if some && len(k.clients) == 0 {
		k.tellFinished()
	}
}

// stopText ends the output of a cell that ran when its kernel ended.
const stopText = "\n[the kernel was stopped here, while this cell ran]\n"

// End records that the kernel has ended. It reports whether there are executions that no file has
// and that no connected client has received completely.
func (k *Kernel) End() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.endAll(stopText)
	return slices.ContainsFunc(k.journal.Executions(), func(e *journal.Execution) bool { return unwritten(e) && !k.hasHad(e) })
}

// toKernel records a client's request and queues it for the kernel. It reports whether there was
// room.
func (k *Kernel) toKernel(c *client, m wire.Message) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	c.alias = m.Head.Session
	if k.waiting+m.Size() > maxOutgoing {
		return false
	}
	e, err := k.journal.Begin(m)
	k.report(err)
	switch {
	case e != nil:
		k.last[e.ID] = k.seq
		k.supersede(e)
	case m.Channel == "stdin" && m.Head.Type == "input_reply":
		for _, e := range k.journal.Executions() {
			if e.Asking {
				k.report(e.Answered())
			}
		}
	}
	k.outgoing, k.waiting = append(k.outgoing, m), k.waiting+m.Size()
	k.wake.Broadcast()
	return true
}

// maxAlike bounds the executions of one source that are kept if no client tells their cells: a
// notebook may have several cells with that source.
const maxAlike = 8

// supersede removes earlier executions of the cell of a new execution. The caller holds mu.
func (k *Kernel) supersede(e *journal.Execution) {
	var old []*journal.Execution
	for _, o := range k.journal.Executions() {
		if o != e && o.Finished() && o.Cell == e.Cell && (e.Cell != "" || o.Code == e.Code && o.Alike == e.Alike) {
			old = append(old, o)
		}
	}
	keep := 0
	if e.Cell == "" && e.Alike < 0 {
		keep = maxAlike - 1
	}
	for _, o := range old[:max(0, len(old)-keep)] {
		k.remove(o)
	}
}

func (k *Kernel) remove(e *journal.Execution) {
	k.journal.Remove(e)
	delete(k.last, e.ID)
	delete(k.adopted, e.ID)
}

// owns reports whether a client owns an execution, and so gets its replies: the client has sent the
// request or has adopted the execution. The caller holds mu.
func (k *Kernel) owns(e *journal.Execution, c *client) bool {
	return c.is(e.Session) || c.is(k.adopted[e.ID])
}

// away reports whether no owner of an execution is connected. The caller holds mu.
func (k *Kernel) away(e *journal.Execution) bool {
	for c := range k.clients {
		if k.owns(e, c) {
			return false
		}
	}
	return true
}

// present reports whether a client of the session is connected. The caller holds mu.
func (k *Kernel) present(session string) bool {
	for c := range k.clients {
		if c.session == session {
			return true
		}
	}
	return false
}

// receipt records that a session has received all messages up to a number. The caller holds mu.
func (k *Kernel) receipt(session string, seq uint64) {
	k.seen[session] = max(k.seen[session], min(seq, k.seq))
	if len(k.seen) > maxSessions {
		maps.DeleteFunc(k.seen, func(s string, _ uint64) bool { return !k.present(s) })
	}
}
