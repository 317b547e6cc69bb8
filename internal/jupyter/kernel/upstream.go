package kernel

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"keyway/internal/jupyter/journal"
	"keyway/internal/jupyter/wire"
	"keyway/internal/sleep"
)

// run keeps a connection to the kernel. It returns when the kernel has ended or ctx is done, and
// reports whether the kernel has ended.
func (k *Kernel) run(ctx context.Context) bool {
	const first = 200 * time.Millisecond
	for pause := first; ; {
		conn, resp, err := k.dial(ctx)
		switch {
		case err == nil:
			began := time.Now()
			k.carry(ctx, conn)
			if time.Since(began) > maxRedial {
				pause = first
			}
		case resp != nil && resp.StatusCode == http.StatusNotFound:
			k.options.Logf("kernel %s is gone", k.ID)
			return true
		case ctx.Err() == nil:
			k.options.Logf("kernel %s: %v", k.ID, err)
		}
		if sleep.For(ctx, pause) != nil {
			return false
		}
		pause = min(2*pause, maxRedial)
	}
}

// carry moves messages in both directions until the connection ends.
func (k *Kernel) carry(ctx context.Context, conn *websocket.Conn) {
	protocol := protocolOf(conn)
	conn.SetReadLimit(wire.MaxMessage)
	source, _ := conn.NetConn().(feed)
	again := k.connected(source)
	ctx, cancel := context.WithCancel(ctx)
	var sender sync.WaitGroup
	sender.Go(func() { k.send(ctx, conn, protocol) })
	stop := context.AfterFunc(ctx, func() {
		_ = conn.Close()
		k.mu.Lock()
		k.wake.Broadcast()
		k.mu.Unlock()
	})
	defer func() { cancel(); stop(); _ = conn.Close(); k.broadcast(); sender.Wait() }()
	var batch []wire.Message
	decoder := wire.Decoder{Protocol: protocol}
	expected := unknown
	if source != nil {
		expected = source.Frame
	}
	pace := pace{alarm: newAlarm()}
	defer pace.alarm.close()
	for {
		m, err := read(conn, &decoder, expected)
		var bad *badMessage
		switch {
		case errors.As(err, &bad):
			k.options.Logf("kernel %s sent %v", k.ID, err)
			if m.Head.ID != "" {
				batch = append(batch, leftOut(m))
			}
		case err == nil:
			batch = append(batch, m)
		}
		if err == nil && source != nil && source.More() && len(batch) < maxBatch {
			continue
		}
		if keepErr := k.keep(batch, source, again); keepErr != nil {
			err, bad = keepErr, nil
		}
		again = false
		batch = batch[:0]
		if err != nil && bad == nil {
			if ctx.Err() == nil {
				k.options.Logf("kernel %s: the connection ended: %v", k.ID, err)
			}
			return
		}
		if source != nil {
			pace.wait()
		}
	}
}

// leftOut returns the replacement of a message whose content is left out: for an output, a notice.
// Replies and states count also without content.
func leftOut(m wire.Message) wire.Message {
	if m.Channel != "iopub" || m.Origin.ID == "" {
		return m
	}
	return wire.New(m.Head.Session, m.Parent, "iopub", "stream", wire.Text{Name: "stderr", Text: leftOutText})
}

// leftOutText marks the place of a message that cannot be shown.
const leftOutText = "\n[a message of the kernel is left out here: it is not valid JSON]\n"

// keep writes messages to the journal, sends them to the clients, and takes them from the
// connection.
func (k *Kernel) keep(batch []wire.Message, source feed, again bool) error {
	if source == nil {
		k.fromKernel(batch, journal.Mark{}, false)
		return nil
	}
	mark, err := source.Mark()
	if err != nil {
		return err
	}
	k.fromKernel(batch, mark, again)
	return source.Taken()
}

// connected prepares a new connection. It reports whether the first messages are those that an
// earlier program has written to the journal and not taken from the connection.
func (k *Kernel) connected(source feed) (again bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var last string
	var resumed bool
	if source != nil {
		if last, resumed = source.Sent(); resumed {
			again = k.known(source)
		}
	}
	if !resumed {
		k.numbers = numbering{} // the output already has a notice of the new connection
	}
	k.resend(last, resumed)
	k.watchEnds()
	for _, e := range k.journal.Executions() {
		if e.Running && !e.Finished() && !resumed {
			k.report(e.Restarted())
			k.showAgain(e)
		}
	}
	return again
}

// showAgain shows an execution to its owners from its beginning. The caller holds mu.
func (k *Kernel) showAgain(e *journal.Execution) {
	k.seq++
	k.last[e.ID] = k.seq
	for c := range k.clients {
		if k.owns(e, c) {
			c.add(item{replay: e.ID})
		}
	}
}

func (k *Kernel) known(source feed) bool {
	again, err := source.Known(k.journal.Marks())
	if err != nil {
		k.options.Logf("kernel %s: %v", k.ID, err)
	}
	return again
}

// resend queues the requests that an earlier program has recorded and not sent, before newer ones.
// last is the last request that it has sent completely on this connection. On a new connection, the
// fate of a request that was being sent is unknown, and it is not sent again. The caller holds mu.
func (k *Kernel) resend(last string, resumed bool) {
	var all []wire.Message
	for _, id := range k.unsent {
		e := k.journal.Find(id)
		if e == nil || id == last || e.Tried && !resumed {
			continue
		}
		m, err := e.Request()
		if err != nil {
			k.options.Logf("kernel %s: a request cannot be read: %v", k.ID, err)
			continue
		}
		all = append(all, m)
		k.waiting += m.Size()
	}
	k.probe = probe{}
	lost := unheard
	if resumed {
		lost = cut
	}
	all = append(k.ask(lost), all...)
	k.outgoing, k.unsent = append(all, k.outgoing...), nil
}

// feed is a connection that keeps messages until they are written to the journal. See package feed.
type feed interface {
	// Frame returns the size, in bytes, of the frame that is being read; 0 if it is not known yet.
	Frame() int64
	// More reports whether another message can be read without waiting.
	More() bool
	// Mark returns the mark of the messages that were read and not taken.
	Mark() (journal.Mark, error)
	// Taken takes the messages that were read from the connection.
	Taken() error
	// Sending sets the id of the request that the next message contains.
	Sending(id string)
	// Sent returns the last request that an earlier program has sent completely on this connection.
	// resumed reports whether there was one.
	Sent() (id string, resumed bool)
	// Known reports whether the unread bytes begin with those of one of the marks. If they do,
	// these are the first messages, until More reports false.
	Known([]journal.Mark) (bool, error)
}

// maxBatch bounds the messages that are written to the journal together.
const maxBatch = 256

func (k *Kernel) broadcast() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wake.Broadcast()
}

// send writes the requests that wait for the kernel. A request that could not be written waits for
// the next connection, which may use the other protocol.
func (k *Kernel) send(ctx context.Context, conn *websocket.Conn, protocol wire.Protocol) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		for len(k.outgoing) == 0 && ctx.Err() == nil {
			k.wake.Wait()
		}
		if ctx.Err() != nil {
			return
		}
		m := k.outgoing[0]
		if e := k.journal.Find(m.Head.ID); e != nil && !e.Tried {
			k.report(e.Trying())
		}
		k.mu.Unlock()
		if to, ok := conn.NetConn().(feed); ok {
			to.Sending(m.Head.ID)
		}
		err := write(conn, protocol, m)
		k.mu.Lock()
		if err != nil {
			_ = conn.Close() // also ends the reader
			return
		}
		if e := k.journal.Find(m.Head.ID); e != nil && !k.closed {
			k.report(e.WasSent())
		}
		k.outgoing, k.waiting = k.outgoing[1:], k.waiting-m.Size()
	}
}
