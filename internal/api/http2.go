package api

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// HTTP/2 settings of the one connection between link and node.
const (
	// streamWindow bounds the bytes under way in one stream: twice OpenSSH's channel window of 2
	// MiB, so that this is never the bottleneck.
	streamWindow = 4 << 20
	// connWindow is so large that streams with slow readers, each with a full window, do not stop
	// the others. (The documentation of HTTP2Config gives a lower bound for it than the
	// implementation has; TestStalledStreams shows that it holds.)
	connWindow = 1 << 30
	// maxStreams bounds the streams and requests that are open at once.
	maxStreams = 4096
	// A connection without data for pingAfter is sent a ping. Without an answer within pingTimeout,
	// it is dead.
	pingAfter   = 15 * time.Second
	pingTimeout = 15 * time.Second
)

func plainHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// debugging is held while GODEBUG is changed.
var debugging sync.Mutex

// permitHTTP2 keeps GODEBUG from switching HTTP/2 off until restore is called. People set http2client=0
// against proxies of the web. The programs that this one starts get GODEBUG unchanged.
func permitHTTP2() (restore func()) {
	debugging.Lock()
	was := os.Getenv("GODEBUG")
	if !strings.Contains(was, "http2") {
		debugging.Unlock()
		return func() {}
	}
	os.Setenv("GODEBUG", was+",http2client=1,http2server=1")
	return sync.OnceFunc(func() {
		os.Setenv("GODEBUG", was)
		debugging.Unlock()
	})
}

// Connect makes an HTTP/2 client of conn, which it then owns. changed is called when a request has
// ended, and when the connection has.
func Connect(ctx context.Context, conn net.Conn, changed func(*http.ClientConn)) (*http.ClientConn, error) {
	t := &http.Transport{
		Protocols:          plainHTTP2(),
		DisableCompression: true,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream:     streamWindow,
			MaxReceiveBufferPerConnection: connWindow,
			MaxReadFrameSize:              copySize,
			SendPingTimeout:               pingAfter,
			PingTimeout:                   pingTimeout,
		},
		DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	restore := permitHTTP2()
	t.Clone() // sets HTTP/2 up in t, and connects nothing
	restore()
	cc, err := t.NewClientConn(ctx, "http", "node:80")
	if err != nil {
		conn.Close()
		return nil, err
	}
	cc.SetStateHook(changed)
	return cc, nil
}

// ServeConn serves h over HTTP/2 on conn, in the versions that are Spoken, until the connection or
// ctx ends. It returns when the last request has been handled.
func ServeConn(ctx context.Context, conn net.Conn, h http.Handler) error {
	return serveConn(ctx, conn, versioned(Spoken, h))
}

func serveConn(ctx context.Context, conn net.Conn, h http.Handler) error {
	var requests inFlight
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := newOneConnListener(joinWrites(conn))
	restore := permitHTTP2()
	defer restore()
	srv := &http.Server{
		Protocols: plainHTTP2(),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerStream:     streamWindow,
			MaxReceiveBufferPerConnection: connWindow,
			MaxReadFrameSize:              copySize,
		},
		BaseContext: func(net.Listener) context.Context {
			restore() // HTTP/2 has been set up by now
			return ctx
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requests.begin() {
				defer requests.end()
				h.ServeHTTP(w, r)
			}
		}),
	}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	err := srv.Serve(l)
	cancel()
	requests.drain()
	if errors.Is(err, io.EOF) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// inFlight counts requests. It is not a WaitGroup, because a request may begin during the wait for
// the end; such a request is refused.
type inFlight struct {
	mu       sync.Mutex
	draining bool
	n        sync.WaitGroup
}

func (f *inFlight) begin() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.draining {
		f.n.Add(1)
	}
	return !f.draining
}

func (f *inFlight) end() { f.n.Done() }

func (f *inFlight) drain() {
	f.mu.Lock()
	f.draining = true
	f.mu.Unlock()
	f.n.Wait()
}

// oneConnListener accepts one connection. The next Accept returns io.EOF when that connection has
// been closed.
type oneConnListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	addr   net.Addr
}

func newOneConnListener(conn net.Conn) *oneConnListener {
	l := &oneConnListener{conns: make(chan net.Conn, 1), closed: make(chan struct{}), addr: conn.LocalAddr()}
	l.conns <- &closeHook{Conn: conn, hook: func() { l.Close() }}
	return l
}

func (l *oneConnListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, io.EOF
	}
}

func (l *oneConnListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *oneConnListener) Addr() net.Addr { return l.addr }

// closeHook reports when a connection is closed.
type closeHook struct {
	net.Conn
	hook func()
}

func (c *closeHook) Close() error {
	defer c.hook()
	return c.Conn.Close()
}
