//go:build unix

package hold

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"keyway/internal/handover"
)

// Keeper is the parent's side. One goroutine calls its methods. The zero value has no
// connections.
type Keeper struct {
	conn  *net.UnixConn // to the running program
	serve sync.WaitGroup
	obey  sync.WaitGroup

	mu   sync.Mutex
	held map[string]*held // by kernel
}

// held is one connection.
type held struct {
	note
	conn    *Conn
	spill   spill
	dropped bool // by the program, or after an error in the middle of a message
}

// sendTime bounds the time to finish a request of a killed program. Half a request would corrupt
// those after it.
const sendTime = 5 * time.Second

// Start makes the descriptor for the next program, which the caller closes. The program can read
// the held connections from it.
func (k *Keeper) Start() (*os.File, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	if k.held == nil {
		k.held = map[string]*held{}
	}
	k.conn = ours
	k.serve.Go(k.run)
	return theirs, nil
}

// run sends the program the held connections, and receives new ones from it.
func (k *Keeper) run() {
	defer k.conn.Close()
	k.mu.Lock()
	for _, h := range k.held {
		_ = k.give(h) // after an error, the program connects again
	}
	k.mu.Unlock()
	if handover.SendEnd(k.conn) != nil {
		return
	}
	for {
		b, err := handover.Receive(k.conn, maxNote)
		if err != nil {
			return
		}
		if h, ask, err := receive(b); err == nil {
			k.take(h, ask)
		}
	}
}

func (k *Keeper) give(h *held) error {
	ours, theirs, err := pair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	if err := send(k.conn, h.note, h.conn, h.spill, theirs); err != nil {
		return err
	}
	k.obey.Go(func() { h.obey(ours) })
	return nil
}

func (k *Keeper) take(h *held, ask net.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if old := k.held[h.Kernel]; old != nil {
		old.close()
	}
	k.held[h.Kernel] = h
	k.obey.Go(func() { h.obey(ask) })
}

// Ended waits until all requests of the ended program are done.
func (k *Keeper) Ended() {
	k.serve.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, h := range k.held {
		_ = h.conn.SetReadDeadline(time.Now())
		_ = h.conn.SetWriteDeadline(time.Now().Add(sendTime))
	}
	k.obey.Wait()
	for id, h := range k.held {
		_ = h.conn.SetDeadline(time.Time{})
		if h.dropped {
			h.close()
			delete(k.held, id)
		}
	}
}

// Close closes all connections, after Ended.
func (k *Keeper) Close() {
	for _, h := range k.held {
		h.close()
	}
	clear(k.held)
}

func (h *held) close() { _ = h.conn.Close(); _ = h.spill.close() }

// obey executes the program's requests until it ends.
func (h *held) obey(ask net.Conn) {
	defer ask.Close()
	for r := bufio.NewReader(ask); ; {
		c, err := readCommand(r)
		if err == nil {
			err = h.do(c, r)
		}
		if err == nil {
			_, err = ask.Write(h.extent.append(nil))
		}
		if err != nil {
			return
		}
	}
}

func (h *held) do(c command, r io.Reader) error {
	switch c.ask {
	case askSpill:
		_, err := io.CopyN(appending{h.spill, &h.extent}, h.conn, c.n)
		h.dropped = err != nil && !errors.Is(err, os.ErrDeadlineExceeded) // bytes that were read and not written are lost
		return err
	case askClear:
		h.extent = extent{}
		return h.spill.clear()
	case askSend:
		data := make([]byte, c.n)
		if _, err := io.ReadFull(r, data); err != nil {
			return err // nothing of it was sent
		}
		if _, err := h.conn.Write(data); err != nil {
			h.dropped = true
			return err
		}
		if c.id != "" {
			h.Sent = c.id
		}
		return nil
	case askDrop:
		h.dropped = true
		return h.conn.Close()
	}
	return fmt.Errorf("%q is no command", c.ask)
}

// send sends the other process a connection with its spill and its socket for requests.
func send(to *net.UnixConn, n note, conn *Conn, s spill, ask *os.File) error {
	state, err := json.Marshal(n)
	if err != nil {
		return err
	}
	b := handover.Bundle{State: state}
	if err := b.Add(conn); err != nil {
		return err
	}
	for _, f := range []*os.File{s.file, s.memory, ask} {
		if err := b.Add(f); err != nil {
			return err
		}
	}
	return b.Send(to)
}

// receive takes the connection that the other process has sent.
func receive(b handover.Bundle) (*held, net.Conn, error) {
	h := &held{}
	if len(b.Descriptors) != 4 || json.Unmarshal(b.State, &h.note) != nil {
		b.Close()
		return nil, nil, fmt.Errorf("no connection: %d descriptors", len(b.Descriptors))
	}
	h.conn = &Conn{fd: b.Descriptors[0]}
	h.spill = spill{os.NewFile(uintptr(b.Descriptors[1]), "spill"), os.NewFile(uintptr(b.Descriptors[2]), "spill")}
	ask, err := connOf(b.Descriptors[3])
	if err != nil {
		h.close()
	}
	return h, ask, err
}
