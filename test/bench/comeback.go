//go:build linux

package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"keyway/internal/stream"
	"keyway/test/lab"
)

// The stream alone, its client in the laptop's network and its server in the
// bastion's, with a slow line between.
const (
	streamRTT = 40 * time.Millisecond
	comebacks = 25

	targetBack  = streamRTT*3/2 + 50*time.Millisecond
	targetOther = streamRTT*3 + 100*time.Millisecond

	idlePeriod = 15 * time.Second
	idlePings  = 2 // periods that the idle stream is watched for
)

// pair is both ends of a stream, and the network between them.
type pair struct {
	client, server *stream.Conn
	listener       net.Listener
	streams        *stream.Server
	paths          sync.WaitGroup

	mu       sync.Mutex
	path     net.Conn      // the latest
	gate     chan struct{} // closed when a path may be made
	dialled  time.Time     // when the latest was there
	up, down atomic.Int64  // packets sent
}

func newPair(laptop, bastion *lab.Host) (*pair, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	p := &pair{gate: make(chan struct{})}
	close(p.gate)
	if p.streams, err = stream.NewServer(stream.ServerConfig{HostKey: private}); err != nil {
		return nil, err
	}
	if p.listener, err = bastion.Listen(bastion.Address + ":0"); err != nil {
		return nil, err
	}
	p.paths.Go(p.serve)
	address := p.listener.Addr().String()
	p.client, err = stream.Dial(context.Background(), stream.Config{HostKey: public, Dial: func(ctx context.Context) (net.Conn, error) {
		return p.dial(ctx, laptop, address)
	}})
	if err == nil {
		p.server, err = p.streams.Accept()
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *pair) serve() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.paths.Go(func() { _ = p.streams.Handle(context.Background(), counted{c, &p.down}) })
	}
}

func (p *pair) dial(ctx context.Context, from *lab.Host, address string) (net.Conn, error) {
	p.mu.Lock()
	gate := p.gate
	p.mu.Unlock()
	select {
	case <-gate:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c, err := from.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.path, p.dialled = c, time.Now()
	return counted{c, &p.up}, nil
}

// counted counts the packets that are sent.
type counted struct {
	net.Conn
	packets *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	c.packets.Add(1)
	return c.Conn.Write(p)
}

// cut resets the path, as a killed relay does.
func (p *pair) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.path.(*net.TCPConn).SetLinger(0)
	_ = p.path.Close()
}

// shut refuses new paths until the returned function is called.
func (p *pair) shut() (open func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate = make(chan struct{})
	return func() { close(p.gate) }
}

func (p *pair) close() error {
	if p.client != nil {
		_ = p.client.CloseWithError(errors.New("measured"))
	}
	err := errors.Join(p.streams.Close(), p.listener.Close())
	p.paths.Wait()
	return err
}

// passes sends a byte to the server and returns when it has arrived.
func (p *pair) passes() (time.Time, error) {
	if _, err := p.client.Write([]byte{1}); err != nil {
		return time.Time{}, err
	}
	_, err := io.ReadFull(p.server, make([]byte, 1))
	return time.Now(), err
}

// comesBack measures how long bytes do not flow when a path is lost.
func (m *streamBench) comesBack(ctx context.Context) error {
	remove, err := m.lab.Delay(m.lab.Laptop, m.lab.Bastion, streamRTT/2)
	if err != nil {
		return err
	}
	defer func() { _ = remove() }()
	p, err := newPair(m.lab.Laptop, m.lab.Bastion)
	if err != nil {
		return err
	}
	defer p.close()
	idle, err := newPair(m.lab.Laptop, m.lab.Bastion)
	if err != nil {
		return err
	}
	defer idle.close()
	if _, err := idle.passes(); err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // the last ACK of its server comes after one
	quiet := time.Now()
	up, down := idle.up.Load(), idle.down.Load()

	var back, other []time.Duration
	for range comebacks {
		if _, err := p.passes(); err != nil {
			return err
		}
		open := p.shut()
		p.cut()
		time.AfterFunc(2*streamRTT, open)
		at, err := p.passes()
		if err != nil {
			return err
		}
		back = append(back, at.Sub(p.since()))
		cut := time.Now()
		p.cut()
		if at, err = p.passes(); err != nil {
			return err
		}
		other = append(other, at.Sub(cut))
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	m.targets.add(fmt.Sprintf("the path is back: bytes arrive at the guest within 1.5 round trips + 50 ms (%d ms)", targetBack.Milliseconds()),
		fmt.Sprintf("%d ms", median(back).Milliseconds()), median(back) <= targetBack)
	m.targets.add(fmt.Sprintf("a relay is killed, another path is at hand: within 3 round trips + 100 ms (%d ms)", targetOther.Milliseconds()),
		fmt.Sprintf("%d ms", median(other).Milliseconds()), median(other) <= targetOther)

	time.Sleep(time.Until(quiet.Add(idlePings*idlePeriod + idlePeriod/2)))
	up, down = idle.up.Load()-up, idle.down.Load()-down
	m.targets.add(fmt.Sprintf("packets each way of an idle stream in %v ≤ %d", idlePings*idlePeriod, idlePings),
		fmt.Sprintf("%d and %d", up, down), up > 0 && up <= idlePings && down <= idlePings)
	return nil
}

// since returns the time at which the latest path was established.
func (p *pair) since() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dialled
}

// bastionKilled measures how long an ssh stalls when the bastion's processes are killed and the
// link's ssh has to log in at both hops again.
func (m *streamBench) bastionKilled(ctx context.Context) error {
	echo, err := m.lab.GPU.Listen(m.lab.GPU.Address + ":0")
	if err != nil {
		return err
	}
	defer echo.Close()
	go serveEcho(echo) // ends with the listener
	tunnel := m.laptop("ssh", "-N", "-o", "ExitOnForwardFailure=yes", "-L", "127.0.0.1:7803:"+echo.Addr().String(), ours.host)
	if err := tunnel.Start(); err != nil {
		return err
	}
	defer func() { _ = tunnel.Process.Kill(); _ = tunnel.Wait() }()
	c, err := m.dialUntil(ctx, "127.0.0.1:7803")
	if err != nil {
		return err
	}
	defer c.Close()
	var silent []time.Duration
	for range 7 {
		if _, err := roundTrip(c); err != nil {
			return err
		}
		if err := lab.Kill(syscall.SIGKILL, m.lab.Bastion.Sessions()...); err != nil {
			return err
		}
		d, err := roundTrip(c)
		if err != nil {
			return err
		}
		silent = append(silent, d)
	}
	login, err := m.timed(ctx, m.lab.Laptop, 5, []string{"ssh", "gpu1", "true"})
	if err != nil {
		return err
	}
	fmt.Fprintf(&m.notes, "When the bastion's processes are killed under a user's `ssh train`, without delay, its next round trip takes %d ms (median of %d): the link's `ssh gpu1` has to log in again at both hops, which takes %d ms alone.\n",
		median(silent).Milliseconds(), len(silent), login[0].Milliseconds())
	return nil
}
