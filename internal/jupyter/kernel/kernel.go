// Package kernel holds the one connection to each Jupyter kernel that stays for as long
// as the kernel lives, writes down what comes over it, and gives it to the clients: as
// it comes, and again to those that were away.
//
// To the Jupyter server all clients of a kernel are one, whose session never changes.
// So the server's own buffer works for us: it keeps what the kernel says while this
// program is not there, and gives it to the next connection of the same session.
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
	// maxOutgoing bounds the requests in bytes that wait for the kernel.
	maxOutgoing = 64 << 20
	// maxSessions bounds the sessions whose receipts are remembered.
	maxSessions = 1000
	// maxRedial is the longest pause between two attempts to reach the Jupyter server.
	maxRedial = 5 * time.Second
)

// Options say where a kernel keeps its journal, and how it reaches the Jupyter server.
type Options struct {
	Dir    string // for the journal
	Limits journal.Limits
	// Left says that the first connection of Dial is one that an earlier program has left.
	Left bool
	// Dial opens the kernel's websocket for a session at the Jupyter server. If it
	// fails, the response may be nil.
	Dial func(ctx context.Context, session string) (*websocket.Conn, *http.Response, error)
	Logf func(format string, args ...any)
	// Finished is called when executions end, unless they were short and a client is
	// connected; and by Open if it finds such. It may call the kernel's methods.
	Finished func(*Kernel)
	// Long is what is not short.
	Long time.Duration

	// Gap is between the first message to a new session and the replay, and Again is
	// when both are repeated: editors that resume a cell take the first message as the
	// sign to begin, and lose what comes before they listen.
	Gap, Again time.Duration
}

// Kernel is a kernel with its journal and its clients. Its methods may be called at
// once.
type Kernel struct {
	ID      string
	options Options

	mu       sync.Mutex
	journal  *journal.Journal
	last     map[string]uint64 // by execution: the number of its last message
	adopted  map[string]string // by execution: the session that has it in place of its own
	seen     map[string]uint64 // by session: all messages up to this number have arrived
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

	session string // of the connection; run's own

	life
}

// life is until Close.
type life struct {
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// finishing is the progress of the calls of Finished.
type finishing struct {
	telling bool // it is being called,
	again   bool // and is to be called once more
	trying  bool // it is to be called after a while:
	pause   time.Duration
}

// Open reads the journal of a kernel and begins to connect. ended is called when the
// Jupyter server does not know the kernel any more.
func Open(id string, o Options, ended func(*Kernel)) (*Kernel, error) {
	k, err := Read(id, o)
	if err != nil {
		return nil, err
	}
	ctx := k.ctx
	j := k.journal
	k.mu.Lock()
	if slices.ContainsFunc(j.Executions(), func(e *journal.Execution) bool { return unwritten(e) || e.Finished() && !e.Told && e.Took() >= o.Long }) {
		k.tellFinished()
	}
	k.mu.Unlock()
	k.work.Go(func() {
		if k.run(ctx) {
			ended(k)
		}
	})
	return k, nil
}

// Read reads the journal of a kernel, and does not connect.
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

// Leave ends the connections of a kernel that is no more. The journal stays.
func (k *Kernel) Leave() {
	k.shut()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.journal.Close()
}

// Forget removes the journal of a kernel that is no more.
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

// fromKernel writes messages down and hands them on. The mark is of all of them. With
// again, those of executions with this mark are written down already. It drops the
// messages.
func (k *Kernel) fromKernel(messages []wire.Message, mark journal.Mark, again bool) {
	if len(messages) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	batch := k.numbers.tellMissing(messages)
	finished, half := false, false
	had := k.had(batch, mark, again)
	for _, m := range batch {
		if beginsAnew(m.State()) {
			k.journal.ForgetDisplays()
		}
		if e := k.journal.Find(m.Origin.ID); e != nil && !had[e.ID] {
			was, written := e.Finished(), e.Written
			e.Queue(m)
			half = half || halfEnded(e)
			finished = finished || !was && e.Finished() && (len(k.clients) == 0 || e.Took() >= k.options.Long) || written && !e.Written
		}
		for _, e := range k.journal.Updates(m) {
			if again && e.Mark == mark {
				continue
			}
			written := e.Written
			e.QueueUpdate(m)
			finished = finished || written
		}
	}
	k.report(k.journal.Flush(mark))
	for _, m := range batch {
		finished = k.note(m) || k.answered(m) || finished
		if !had[m.Origin.ID] {
			k.handOn(m)
		}
	}
	if finished {
		k.tellFinished()
	}
	if half {
		k.watchEnds()
	}
	release(batch)
	clear(messages) // batch has another array if something is missing
}

// largeBatch is from how many bytes on messages are given back at once: clients get them
// from the disk, and need the memory for that.
const largeBatch = maxQueue

// release drops messages.
func release(batch []wire.Message) {
	size := 0
	for _, m := range batch {
		size += m.Size()
	}
	if clear(batch); size > largeBatch {
		debug.FreeOSMemory()
	}
}

// had returns the executions whose messages an earlier program has written down.
// Who connects gets these from the disk. The caller holds mu.
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

// note takes what a message says of the kernel. It reports whether executions have ended
// by it that nobody has told of. The caller holds mu.
func (k *Kernel) note(m wire.Message) (finished bool) {
	state := m.State()
	if state != "" {
		k.state = state
	}
	return beginsAnew(state) && k.endAll("")
}

// beginsAnew reports whether nothing that was before a state of a kernel goes on.
func beginsAnew(state string) bool {
	return state == "restarting" || state == "dead" || state == "autorestarting"
}

// handOn gives a message to the clients. The caller holds mu.
func (k *Kernel) handOn(m wire.Message) {
	k.seq++
	e := k.journal.Find(m.Origin.ID)
	if e != nil {
		k.last[e.ID] = k.seq
	}
	for _, o := range k.journal.Updates(m) {
		k.last[o.ID] = k.seq
	}
	for c := range k.clients {
		if m.Channel == "iopub" || e == nil && c.is(m.Origin.Session) || e != nil && k.owns(e, c) {
			c.add(item{m: m, seq: k.seq, recorded: e != nil})
		}
	}
}

// maxPause is the longest pause between two attempts to write a file.
const maxPause = time.Hour

// TryAgain has Finished called after a while, unless somebody is connected then: a file could
// not be written. Until one is, the pause doubles each time, up to an hour.
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

// tellFinished calls Finished, which takes its time, and once more if it is to be called
// meanwhile. The caller holds mu.
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

// report tells of a journal that cannot be written, once until it can, and has it tried
// again until then. The caller holds mu.
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

// endAll ends the executions that a restarted kernel does not know, or one that is no
// more: then a notice tells of it. The caller holds mu.
func (k *Kernel) endAll(notice string) (some bool) {
	for _, e := range k.journal.Executions() {
		if !e.Finished() {
			k.report(e.End(notice))
			some = true
		}
	}
	return some
}

// Restarted notes that the kernel was restarted: nothing that ran goes on.
func (k *Kernel) Restarted() {
	k.mu.Lock()
	defer k.mu.Unlock()
	some := k.endAll("")
	k.journal.ForgetDisplays()
	k.report(k.journal.Retry())
	for _, e := range k.journal.Executions() {
		if e.Ended && !e.Told {
			k.report(e.WasTold()) // the client that asked for the restart knows
		}
	}
	if some && len(k.clients) == 0 {
		k.tellFinished()
	}
}

// stopText is the end of what a cell shows that ran when its kernel ended.
const stopText = "\n[the kernel was stopped here, while this cell ran]\n"

// End notes that the kernel is no more. It reports whether there are executions that are
// in no file, and of which no connected client has had all.
func (k *Kernel) End() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.endAll(stopText)
	return slices.ContainsFunc(k.journal.Executions(), func(e *journal.Execution) bool { return unwritten(e) && !k.hasHad(e) })
}

// toKernel writes a client's request down and sends it. It reports whether there was room.
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

// maxAlike is how many executions of one source are kept if no client says of which cells
// they are: a notebook may have several cells alike.
const maxAlike = 8

// supersede forgets what the cell of a new execution has shown before. The caller
// holds mu.
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

// owns reports whether a client gets the replies of an execution: it has asked for it,
// or has it in place of the one that did. The caller holds mu.
func (k *Kernel) owns(e *journal.Execution, c *client) bool {
	return c.is(e.Session) || c.is(k.adopted[e.ID])
}

// away reports whether nobody is connected who owns an execution. The caller holds mu.
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

// receipt notes that a session has had all messages up to a number. The caller holds
// mu.
func (k *Kernel) receipt(session string, seq uint64) {
	k.seen[session] = max(k.seen[session], min(seq, k.seq))
	if len(k.seen) > maxSessions {
		maps.DeleteFunc(k.seen, func(s string, _ uint64) bool { return !k.present(s) })
	}
}
