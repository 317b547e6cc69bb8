//go:build linux

package lab

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// proxyToEcho starts a proxy before a server that sends the number of each connection, in the order
// of arrival, and echoes its input.
func proxyToEcho(t *testing.T) (p *Proxy, dial func() *net.TCPConn) {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() { // ends with the listener
		for n := byte('1'); ; n++ {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				defer c.Close()
				_, _ = c.Write([]byte{n})
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p = newProxy(front, func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", server.Addr().String())
	})
	t.Cleanup(func() { p.Close() })
	return p, func() *net.TCPConn {
		t.Helper()
		c, err := net.Dial("tcp", front.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c.(*net.TCPConn)
	}
}

// reads fails unless these bytes arrive.
func reads(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

// silent fails if a byte arrives within a while.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	n, err := c.Read(make([]byte, 1))
	var timeout net.Error
	if n != 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("read %d bytes, %v; want nothing", n, err)
	}
}

func TestProxyPassesOn(t *testing.T) {
	_, dial := proxyToEcho(t)
	c := dial()
	text := strings.Repeat("some words ", 100_000)
	go func() {
		_, _ = io.WriteString(c, text)
		_ = c.CloseWrite()
	}()
	reads(t, c, "1"+text)
	if n, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the end: %d bytes, %v", n, err)
	}
}

func TestProxyEnds(t *testing.T) {
	p, dial := proxyToEcho(t)
	for name, test := range map[string]struct {
		end  func() int
		want error
	}{"cut": {p.Cut, io.EOF}, "reset": {p.Reset, syscall.ECONNRESET}} {
		c := dial()
		_, _ = c.Read(make([]byte, 1))
		if n := test.end(); n != 1 {
			t.Errorf("%s: there were %d connections", name, n)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, test.want) {
			t.Errorf("%s: read ends with %v", name, err)
		}
	}
	p.Refuse(true)
	if c, err := net.Dial("tcp", p.listener.Addr().String()); err == nil {
		defer c.Close()
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a refused connection lives")
		}
	}
	p.Refuse(false)
	reads(t, dial(), "3")
	if n := p.Accepted(); n != 4 {
		t.Errorf("%d were accepted", n)
	}
}

func TestProxyStallsOneWay(t *testing.T) {
	p, dial := proxyToEcho(t)
	c := dial()
	reads(t, c, "1")
	for _, d := range []Direction{Up, Down} {
		p.Stall(d)
		_, _ = c.Write([]byte("held"))
		silent(t, c)
		p.Flow(d)
		reads(t, c, "held")
	}
	// A stalled connection can still be cut.
	p.Stall(Up)
	_, _ = c.Write([]byte("lost"))
	silent(t, c)
	p.Cut()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read ends with %v", err)
	}
}

func TestProxyDeadens(t *testing.T) {
	p, dial := proxyToEcho(t)
	c := dial()
	reads(t, c, "1")
	p.Deaden(Up)
	_, _ = c.Write([]byte("lost"))
	silent(t, c)
	reads(t, dial(), "2")
	silent(t, c)
}

func TestProxySpoils(t *testing.T) {
	p, dial := proxyToEcho(t)
	c := dial()
	reads(t, c, "1")
	p.Spoil(Down)
	_, _ = c.Write([]byte("abc"))
	reads(t, c, "arc")
	_, _ = c.Write([]byte("abc"))
	reads(t, c, "abc")
}

func TestProxyIsSlow(t *testing.T) {
	p, dial := proxyToEcho(t)
	c := dial()
	reads(t, c, "1")
	p.Slow(Up, 100_000)
	begin := time.Now()
	text := strings.Repeat("x", 20_000)
	for range 2 {
		_, _ = io.WriteString(c, text)
		reads(t, c, text)
	}
	// The second waits for the first.
	if took := time.Since(begin); took < 150*time.Millisecond {
		t.Errorf("20 kB at 100 kB/s took %v", took)
	}
}

func TestProxyLetsOvertake(t *testing.T) {
	p, dial := proxyToEcho(t)
	p.Overtake()
	first := dial()
	silent(t, first)
	second := dial()
	reads(t, second, "1")
	reads(t, first, "2")
}
