package kernel

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"keyway/internal/jupyter/wire"
)

const (
	// maxQueue bounds the bytes that wait for a slow client, beside the largest message. A client
	// with more gets the executions again, from disk, when it has caught up.
	maxQueue = 4 << 20
	// maxUnasked bounds the bytes of the executions that a new session gets without a request.
	maxUnasked = 16 << 20
	// batch is the number of sent bytes after which a receipt is requested.
	batch = 256 << 10
	// receipts is the longest time between a message and the request for its receipt.
	receipts = 200 * time.Millisecond
)

// client is a page or an editor at the other end of a websocket.
type client struct {
	k        *Kernel
	session  string // from the URL
	alias    string // from its requests; most clients have the same here
	protocol wire.Protocol
	conn     *websocket.Conn
	out      *gathering // the connection under conn
	wake     *sync.Cond // uses the kernel's mutex, which guards the fields below
	queue    []item
	bytes    int
	over     bool
	gone     chan struct{}
}

// is reports whether a session is this client's.
func (c *client) is(session string) bool {
	return session != "" && (c.session == session || c.alias == session)
}

// item is a message, or an execution to be shown from its beginning.
type item struct {
	m        wire.Message
	seq      uint64
	recorded bool
	replay   string // id of the execution
}

func protocolOf(conn *websocket.Conn) wire.Protocol {
	if conn.Subprotocol() == wire.Subprotocol {
		return wire.V1
	}
	return wire.JSON
}

// badMessage is the error of an invalid message. The connection can still be used.
type badMessage struct{ error }

// read reads a message into a buffer of expected bytes; if that is 0, the buffer grows as needed.
func read(conn *websocket.Conn, d *wire.Decoder, expected func() int64) (wire.Message, error) {
	kind, r, err := conn.NextReader()
	if err != nil {
		return wire.Message{}, err
	}
	data, err := readAll(r, min(expected(), wire.MaxMessage))
	if err != nil {
		return wire.Message{}, err
	}
	m, err := d.Decode(kind == websocket.BinaryMessage, data)
	if err != nil {
		return m, &badMessage{err}
	}
	return m, nil
}

func readAll(r io.Reader, expected int64) ([]byte, error) {
	if expected == 0 {
		return io.ReadAll(r)
	}
	for all := make([]byte, 0, expected); ; { // the frame's header takes some of it, so the end is noticed without a larger buffer
		n, err := r.Read(all[len(all):cap(all)])
		all = all[:len(all)+n]
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		if len(all) == cap(all) {
			all = slices.Grow(all, bytes.MinRead)
		}
	}
}

func unknown() int64 { return 0 }

func write(conn *websocket.Conn, p wire.Protocol, m wire.Message) error {
	data, isBinary := m.Encode(p)
	return conn.WriteMessage(frame(isBinary), data)
}

func frame(isBinary bool) int {
	if isBinary {
		return websocket.BinaryMessage
	}
	return websocket.TextMessage
}

// maxWhole is the largest message, in bytes, that is copied into one buffer for a client.
const maxWhole = 64 << 10

// show writes a message to a client. It writes a large message in several frames, without a copy.
func show(conn *websocket.Conn, p wire.Protocol, m wire.Message) error {
	if m.Size() <= maxWhole {
		return write(conn, p, m)
	}
	w, err := conn.NextWriter(frame(m.Binary(p)))
	if err != nil {
		return err
	}
	if err := m.Write(w, p); err != nil {
		return err
	}
	return w.Close()
}

// Serve turns a request into a client's websocket, and returns when that ends. The caller has
// checked the request's token and origin.
func (k *Kernel) Serve(w http.ResponseWriter, r *http.Request) {
	session := r.URL.Query().Get("session_id")
	if len(session) > 256 {
		http.Error(w, "session_id is longer than 256 bytes", http.StatusBadRequest)
		return
	}
	if session == "" { // such a client gets a new session at each connection, as the Jupyter server does it
		session = rand.Text()
	}
	up := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}, CheckOrigin: func(*http.Request) bool { return true }}
	h := &hijacker{ResponseWriter: w}
	conn, err := up.Upgrade(h, r, nil)
	if err != nil {
		return // the upgrader has answered the request
	}
	defer conn.Close()
	conn.SetReadLimit(wire.MaxMessage)
	c := &client{k: k, session: session, protocol: protocolOf(conn), conn: conn, out: h.conn, wake: sync.NewCond(&k.mu), gone: make(chan struct{})}
	conn.SetPongHandler(func(number string) error {
		if n, err := strconv.ParseUint(number, 10, 64); err == nil {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.receipt(session, n)
		}
		return nil
	})
	if !k.join(c) {
		return
	}
	var writer sync.WaitGroup
	writer.Go(c.write)
	defer func() { k.leave(c); writer.Wait() }()
	c.read()
}

// join adds a client, and queues the output that it has missed.
func (k *Kernel) join(c *client) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	_, known := k.seen[c.session]
	for old := range k.clients {
		if old.session == c.session {
			old.end() // the same page has opened another connection
		}
	}
	for _, e := range k.journal.Executions() {
		if k.owns(e, c) {
			known = true
			if k.last[e.ID] > k.seen[c.session] {
				c.add(item{replay: e.ID})
			}
		}
	}
	k.receipt(c.session, 0)
	k.clients[c] = true
	if !known {
		k.work.Go(func() { k.offer(c) })
	}
	return true
}

func (k *Kernel) leave(c *client) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c.end()
	delete(k.clients, c)
	close(c.gone)
	if len(k.clients) == 0 && slices.ContainsFunc(k.journal.Executions(), unwritten) {
		k.tellFinished()
	}
}

// offer shows a new session the executions that no connected client owns. An editor that remembers
// the request of its cell resumes that cell at the first message.
func (k *Kernel) offer(c *client) {
	ids := k.adopt(c)
	for _, pause := range []time.Duration{0, k.options.Again} {
		if len(ids) == 0 || !c.sleep(pause) || !k.offerOnce(c, ids) {
			return
		}
	}
}

func (k *Kernel) offerOnce(c *client, ids []string) bool {
	k.mu.Lock()
	for _, id := range ids {
		if e := k.journal.Find(id); e != nil {
			c.add(item{m: wire.New(e.Kernel(), e.Header(), "iopub", "status", map[string]string{"execution_state": "busy"})})
		}
	}
	k.mu.Unlock()
	if !c.sleep(k.options.Gap) {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range ids {
		c.add(item{replay: id})
	}
	return true
}

// sleep waits for d. It reports whether the client is still connected.
func (c *client) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.gone:
		return false
	case <-t.C:
		return true
	}
}

// adopt makes a session the owner of the latest executions whose owners are not connected. It
// returns their ids, oldest first.
func (k *Kernel) adopt(c *client) (ids []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var size int64
	execs := k.journal.Executions()
	for i := len(execs) - 1; i >= 0; i-- {
		e := execs[i]
		if e.Written || !k.away(e) {
			continue
		}
		if size += e.Size(); size > maxUnasked && len(ids) > 0 {
			break
		}
		k.adopted[e.ID] = c.session
		ids = append(ids, e.ID)
	}
	slices.Reverse(ids)
	return ids
}

// end closes the connection. The caller holds the kernel's mutex.
func (c *client) end() {
	c.over = true
	c.wake.Broadcast()
	_ = c.conn.Close()
}

// add queues an item. The caller holds the kernel's mutex.
func (c *client) add(i item) {
	c.queue = append(c.queue, i)
	c.bytes += i.m.Size()
	if c.bytes > maxQueue && !c.shorten() {
		c.end()
	}
	c.wake.Broadcast()
}

// shorten replaces the waiting messages of executions by the executions themselves. It reports
// whether the remaining messages are within the bound: they belong to no execution and cannot be
// shown again, so a client that exceeds it must connect again.
func (c *client) shorten() (fits bool) {
	old := c.queue
	c.queue, c.bytes = nil, 0
	listed, largest := map[string]bool{}, 0
	for _, i := range old {
		id := i.replay
		if i.recorded {
			id = i.m.Origin.ID
		}
		if id == "" {
			c.queue, c.bytes, largest = append(c.queue, i), c.bytes+i.m.Size(), max(largest, i.m.Size())
		} else if !listed[id] {
			listed[id] = true
			c.queue = append(c.queue, item{replay: id})
		}
	}
	return c.bytes-largest <= maxQueue
}

// next returns the next items. It waits for them until the given time; for ever if that is zero. An
// execution to be shown is returned alone, because the items behind it may be part of it.
func (c *client) next(until time.Time) []item {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	if !until.IsZero() && len(c.queue) == 0 {
		t := time.AfterFunc(time.Until(until), func() { c.k.mu.Lock(); defer c.k.mu.Unlock(); c.wake.Broadcast() })
		defer t.Stop()
	}
	for len(c.queue) == 0 && !c.over && (until.IsZero() || time.Now().Before(until)) {
		c.wake.Wait()
	}
	if c.over || len(c.queue) == 0 {
		return nil
	}
	n := slices.IndexFunc(c.queue, func(i item) bool { return i.replay != "" })
	switch n {
	case -1:
		n = len(c.queue)
	case 0:
		n = 1
	}
	all := slices.Clone(c.queue[:n])
	for _, i := range all {
		c.bytes -= i.m.Size()
	}
	c.queue = slices.Delete(c.queue, 0, n)
	return all
}

// write sends the queued items. After each batch it requests a receipt: a ping with the number of
// the last message, which the client's network stack answers in order. There is no deadline: a
// client that sleeps is not gone.
func (c *client) write() {
	defer c.conn.Close()
	var high uint64
	var due time.Time // when to request a receipt; zero if every message has one
	size := 0
	for {
		all := c.next(due)
		if len(all) == 0 && due.IsZero() {
			return
		}
		c.out.Gather()
		for _, i := range all {
			n, seq, err := c.put(i)
			if err != nil {
				return
			}
			high, size = max(high, seq), size+n
		}
		if high > 0 && due.IsZero() {
			due = time.Now().Add(receipts)
		}
		if high > 0 && (size > batch || !time.Now().Before(due)) {
			if c.conn.WriteControl(websocket.PingMessage, strconv.AppendUint(nil, high, 10), time.Now().Add(time.Hour)) != nil {
				return
			}
			high, size, due = 0, 0, time.Time{}
		}
		if c.out.Flush() != nil {
			return
		}
	}
}

func (c *client) put(i item) (size int, seq uint64, err error) {
	if i.replay != "" {
		size, seq, err = c.replay(i.replay)
		if size > largeBatch { // the next replay needs the memory
			debug.FreeOSMemory()
		}
		return size, seq, err
	}
	return i.m.Size(), i.seq, show(c.conn, c.protocol, i.m)
}

// replay shows an execution in a cleared cell: busy, clear_output, outputs, reply, idle. So the
// result does not depend on the messages that the client had before.
func (c *client) replay(id string) (size int, seq uint64, err error) {
	r := c.k.take(c, id)
	if r == nil {
		return 0, 0, nil
	}
	defer r.snapshot.Close()
	send := func(m wire.Message) bool {
		size += m.Size()
		err = show(c.conn, c.protocol, m)
		return err == nil
	}
	if !send(r.forge("status", map[string]string{"execution_state": "busy"})) || !send(r.forge("clear_output", map[string]bool{"wait": false})) {
		return size, 0, err
	}
	for m, bad := range r.snapshot.InPlace() {
		if bad != nil {
			c.k.options.Logf("kernel %s: the journal cannot be read: %v", c.k.ID, bad)
			m = r.forge("stream", wire.Text{Name: "stderr", Text: fmt.Sprintf("\n[keyway cannot read the rest of this output: %v]\n", bad)})
		}
		if !send(m) {
			return size, 0, err
		}
	}
	for _, m := range r.closing() {
		if !send(m) {
			return size, 0, err
		}
	}
	return size, r.seq, nil
}

// read passes the client's messages to the kernel until the client leaves.
func (c *client) read() {
	d := wire.Decoder{Protocol: c.protocol}
	for {
		m, err := read(c.conn, &d, unknown)
		if bad := (*badMessage)(nil); errors.As(err, &bad) {
			c.k.options.Logf("kernel %s: a client sent %v", c.k.ID, err)
			continue
		}
		if err != nil || !c.k.toKernel(c, m) {
			return
		}
	}
}
