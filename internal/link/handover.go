package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/stream"
)

// A link that is replaced by another build hands its connections over. The new process upgrades a
// connection to the old one, and receives a handover.Bundle for each ssh: its descriptor, then its
// terminal's if there is one, and the JSON of a handedOver. The guests see a lost path, and the
// user's sshs notice nothing.
const handoverProtocol = "keyway-handover"

// handedOver is one connection on its way between two processes. It contains the stream's secrets,
// so it is sent over a socket that only this user can reach.
type handedOver struct {
	Place   keyway.Place `json:"place"`
	Name    keyway.Name  `json:"name"`
	Since   time.Time    `json:"since"`
	HostKey []byte       `json:"hostKey"`
	Env     []string     `json:"env"` // of the uplink
	State   []byte       `json:"state,omitempty"`
	Unsent  []byte       `json:"unsent,omitempty"`
}

// maxHandedOver bounds the bytes of one connection: a full ring and a full window (12 MiB), in
// base64.
const maxHandedOver = 32 << 20

// Inherited is a connection that another link process has handed over.
type Inherited struct {
	handedOver
	ssh    net.Conn
	screen screen
}

// save takes the stream out of this process. If the stream has ended, the error is the reason;
// otherwise it is stream.ErrMoved.
func (c *proxied) save(guest *stream.Conn) error {
	opened := guest.Status().Opened
	state, err := guest.HandOver()
	switch {
	case err == nil:
		c.moving.state = state
	case guest.Err() == nil && !opened && !c.forgot:
		c.moving.unsent = c.said // the other process starts over: the guest has not answered yet
	default:
		if reason := guest.Err(); reason != nil {
			err = reason
		}
		return err
	}
	return stream.ErrMoved
}

// move stops the copying at its present position.
func (c *proxied) move() {
	close(c.moving.leave)
	c.ssh.SetDeadline(longAgo)
	if guest := c.guest.Load(); guest != nil {
		guest.SetDeadline(longAgo)
	}
}

// handOver passes all connections to the requesting process, and ends the link.
func (l *Link) handOver(w http.ResponseWriter, r *http.Request) {
	lives, err := l.allMovable()
	if err != nil {
		api.WriteError(w, err)
		return
	}
	hijacked, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		l.stop()
		return
	}
	l.ended.Add(1)
	defer l.ended.Done()
	defer l.stop()
	defer hijacked.Close()
	conn, ok := hijacked.(*net.UnixConn)
	if !ok {
		return
	}
	_, err = io.WriteString(conn, switching(handoverProtocol))
	for _, c := range lives {
		c.move()
	}
	for _, c := range lives {
		if <-c.moving.saved && err == nil {
			err = c.send(conn)
		}
		close(c.moving.sent)
	}
	l.listener.Close() // before the last byte, after which the other process binds the socket
	_ = sendEnd(conn)
	l.cfg.Log.Info("handed over", "connections", len(lives), "error", err)
}

// allMovable returns all connections, if each can be handed over. No new ones are then accepted.
func (l *Link) allMovable() ([]*proxied, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lives := make([]*proxied, 0, len(l.lives))
	for c := range l.lives {
		if c.plain.Load() {
			return nil, keyway.Errorf(keyway.Other, "the connection to %s ends with this link, which cannot hand it over", c.name)
		}
		lives = append(lives, c)
	}
	if l.leaving {
		return nil, keyway.Errorf(keyway.Other, "the link is being replaced already")
	}
	l.leaving = true
	return lives, nil
}

// send sends c, which has been saved.
func (c *proxied) send(conn *net.UnixConn) error {
	c.uplink.mu.Lock()
	env := c.uplink.env
	c.uplink.mu.Unlock()
	text, err := json.Marshal(handedOver{
		Place: c.uplink.place, Name: c.name, Since: c.since, HostKey: c.hostKey, Env: env, State: c.moving.state, Unsent: c.moving.unsent,
	})
	if err != nil {
		return err
	}
	return send(conn, c.ssh, c.screen, text)
}

// TakeOver asks the link that listens on socket for its connections and ends it. If there is no
// link, there are none. The caller passes the result to Serve.
func TakeOver(ctx context.Context, socket string) ([]Inherited, error) {
	conn, err := dialLink(socket)
	if err != nil {
		return nil, nil
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	fmt.Fprintf(conn, "POST /v1/handover HTTP/1.1\r\nHost: link\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", handoverProtocol)
	if err := readUpgrade(conn); err != nil {
		return nil, err
	}
	var all []Inherited
	for {
		one, err := receiveOne(conn)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err // the connections received so far are still used
		}
		all = append(all, one)
	}
}

// receiveOne reads one connection; io.EOF after the last.
func receiveOne(conn *net.UnixConn) (in Inherited, err error) {
	var state []byte
	if in.ssh, in.screen, state, err = receive(conn); err != nil {
		return in, err
	}
	if err = json.Unmarshal(state, &in.handedOver); err != nil {
		in.ssh.Close()
		if in.screen != nil {
			in.screen.close()
		}
	}
	return in, err
}

// take continues a connection of another process.
func (l *Link) take(in Inherited) error {
	uplink, err := l.uplink(string(in.Place))
	if err != nil {
		return err
	}
	uplink.mu.Lock()
	if uplink.env == nil {
		uplink.env = in.Env
	}
	uplink.mu.Unlock()
	c := newProxied(uplink, in.Name, in.HostKey, in.Since)
	c.ssh, c.screen, c.moving.state, c.moving.unsent = in.ssh, in.screen, in.State, in.Unsent
	l.ended.Go(func() { l.proxy(l.ctx, c) })
	return nil
}
