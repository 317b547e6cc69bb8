//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Direction is one of the two in which a Proxy's bytes go.
type Direction int

// The directions, from the point of view of the client.
const (
	Up Direction = iota
	Down
)

// Proxy passes TCP connections on, and applies the faults of networks to them: it cuts, resets,
// stalls, slows and corrupts them, in each direction separately, refuses new ones, and lets a later
// one overtake. Its methods may be called at any time and hold for all connections, also later
// ones.
type Proxy struct {
	listener net.Listener
	dial     func(context.Context) (net.Conn, error)
	ctx      context.Context
	cancel   context.CancelFunc
	work     sync.WaitGroup

	mu        sync.Mutex
	changed   *sync.Cond // a fault, or the set of connections
	flows     [2]flow
	conns     map[*proxied]struct{}
	refusing  bool
	overtaken bool // the next connection waits for the one after it
	accepted  int
	latest    int // number of the accepted connection that was connected last
}

// flow is one direction of all connections.
type flow struct {
	stalled bool
	spoil   int // number of the next pieces that get a wrong bit
	rate    int // bytes a second; 0: no bound
}

// proxied is one connection, and the one to the server.
type proxied struct {
	near, far *net.TCPConn
	// Under the Proxy's lock.
	dead [2]bool // passes no more bytes
	gone bool
}

// Proxy puts a proxy between the laptop and a host's sshd: the laptop's ssh goes
// through it from now on. It ends with the lab.
func (l *Lab) Proxy(to *Host) (*Proxy, error) {
	listener, err := l.Laptop.Listen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	target := fmt.Sprintf("%s:%d", to.Address, to.Port)
	p := newProxy(listener, func(ctx context.Context) (net.Conn, error) { return l.Laptop.Dial(ctx, target) })
	l.onClose(p.Close)
	config, err := l.Laptop.ReadFile("/root/.ssh/config")
	if err != nil {
		return nil, err
	}
	// ssh uses the first value that it finds.
	entry := fmt.Sprintf("Host %s\n  HostName 127.0.0.1\n  Port %d\n  HostKeyAlias %s\n\n",
		to.Name, listener.Addr().(*net.TCPAddr).Port, to.Address)
	return p, l.Laptop.WriteFile("/root/.ssh/config", entry+config, 0o600)
}

// newProxy begins to serve.
func newProxy(l net.Listener, dial func(context.Context) (net.Conn, error)) *Proxy {
	p := &Proxy{listener: l, dial: dial, conns: map[*proxied]struct{}{}}
	p.changed = sync.NewCond(&p.mu)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.work.Go(p.serve)
	return p
}

// Close ends the proxy with all its connections.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.cancel()
	p.change(func() { p.flows, p.overtaken = [2]flow{}, false })
	p.Reset()
	p.work.Wait()
	return err
}

func (p *Proxy) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.changed.Broadcast()
}

// Cut closes the connections in an orderly way, and returns their number.
func (p *Proxy) Cut() int { return p.end(func(c *net.TCPConn) { _ = c.Close() }) }

// Reset closes the connections so that both ends get an error.
func (p *Proxy) Reset() int {
	return p.end(func(c *net.TCPConn) {
		_ = c.SetLinger(0)
		_ = c.Close()
	})
}

func (p *Proxy) end(how func(*net.TCPConn)) int {
	n := 0
	p.change(func() {
		for c := range p.conns {
			if c.gone {
				continue
			}
			n++
			c.gone = true
			how(c.near)
			how(c.far)
		}
	})
	return n
}

// Stall silently holds back all bytes in a direction; Flow releases them.
func (p *Proxy) Stall(d Direction) { p.change(func() { p.flows[d].stalled = true }) }

// Deaden stalls the present connections for ever; new ones work.
func (p *Proxy) Deaden(d Direction) {
	p.change(func() {
		for c := range p.conns {
			c.dead[d] = true
		}
	})
}

// Flow undoes Stall and Slow.
func (p *Proxy) Flow(d Direction) {
	p.change(func() { p.flows[d].stalled, p.flows[d].rate = false, 0 })
}

// Slow limits the bytes a second in a direction.
func (p *Proxy) Slow(d Direction, rate int) { p.change(func() { p.flows[d].rate = rate }) }

// Spoil changes a bit of the next piece in a direction.
func (p *Proxy) Spoil(d Direction) { p.change(func() { p.flows[d].spoil++ }) }

// Refuse reports whether new connections are closed at once.
func (p *Proxy) Refuse(on bool) { p.change(func() { p.refusing = on }) }

// Overtake holds the next connection back until the one after it has been made.
func (p *Proxy) Overtake() { p.change(func() { p.overtaken = true }) }

// Accepted returns the number of connections that were requested.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

func (p *Proxy) serve() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		var number int
		var refuse, waits bool
		p.change(func() {
			p.accepted++
			number, refuse, waits = p.accepted, p.refusing, p.overtaken && !p.refusing
			p.overtaken = p.overtaken && !waits
		})
		if refuse {
			_ = near.(*net.TCPConn).SetLinger(0)
			_ = near.Close()
			continue
		}
		p.work.Go(func() { p.carry(near.(*net.TCPConn), number, waits) })
	}
}

// carry connects to the server and copies in both directions until both have ended.
func (p *Proxy) carry(near *net.TCPConn, number int, waits bool) {
	defer near.Close()
	if waits {
		p.mu.Lock()
		for p.latest <= number && p.ctx.Err() == nil {
			p.changed.Wait()
		}
		p.mu.Unlock()
	}
	conn, err := p.dial(p.ctx)
	if err != nil {
		return
	}
	far := conn.(*net.TCPConn)
	defer far.Close()
	c := &proxied{near: near, far: far}
	p.change(func() { p.conns[c], p.latest = struct{}{}, max(p.latest, number) })
	defer p.change(func() { delete(p.conns, c) })
	if p.ctx.Err() != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pump(c, far, near, Up) })
	both.Go(func() { p.pump(c, near, far, Down) })
	both.Wait()
}

// pump copies one direction. Bytes that it has read when a stall begins wait here; the rest
// waits in the kernel's buffers, until they are full.
func (p *Proxy) pump(c *proxied, dst, src *net.TCPConn, d Direction) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			pause, passed := p.pass(c, d, buf[:n])
			if !passed {
				return
			}
			if _, writeErr := dst.Write(buf[:n]); writeErr != nil {
				err = errors.Join(err, writeErr)
			}
			p.pause(pause)
		}
		if err != nil {
			_ = dst.CloseWrite()
			return
		}
	}
}

// pass waits while the direction is stalled, corrupts b if it is its turn, and returns the time
// that b takes on a slow line. It returns false if the connection has ended.
func (p *Proxy) pass(c *proxied, d Direction, b []byte) (pause time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := &p.flows[d]
	for (f.stalled || c.dead[d]) && !c.gone {
		p.changed.Wait()
	}
	if f.spoil > 0 {
		f.spoil--
		b[len(b)/2] ^= 0x10
	}
	if f.rate > 0 {
		pause = time.Duration(len(b)) * time.Second / time.Duration(f.rate)
	}
	return pause, !c.gone
}

func (p *Proxy) pause(d time.Duration) {
	if d == 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-p.ctx.Done():
	}
}
