package stream

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a server and a way to dial it, over a network that tests disturb.
type lab struct {
	t      *testing.T
	key    ed25519.PrivateKey
	server *Server
	net    *faultNet
	log    *slog.Logger
	words  *bytes.Buffer
	wordMu sync.Mutex
	paths  sync.WaitGroup
	limit  *time.Timer
}

// labTime bounds a test in a bubble, where an idle stream that waits in vain would run for ever,
// and the clock with it.
const labTime = 60 * 24 * time.Hour

func newLab(t *testing.T, change ...func(*ServerConfig)) *lab {
	t.Helper()
	seed := sha256.Sum256([]byte(t.Name()))
	l := &lab{t: t, key: ed25519.NewKeyFromSeed(seed[:]), words: &bytes.Buffer{}}
	l.log = slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg := ServerConfig{HostKey: l.key, Logger: l.log}
	for _, f := range change {
		f(&cfg)
	}
	server, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.server = server
	l.net = newFaultNet(l.serve)
	l.limit = time.AfterFunc(labTime, func() {
		t.Errorf("the test goes on after %v", labTime)
		server.Close()
	})
	return l
}

// Write takes the log.
func (l *lab) Write(p []byte) (int, error) {
	l.wordMu.Lock()
	defer l.wordMu.Unlock()
	return l.words.Write(p)
}

func (l *lab) logged(words string) bool {
	l.wordMu.Lock()
	defer l.wordMu.Unlock()
	return bytes.Contains(l.words.Bytes(), []byte(words))
}

func (l *lab) serve(conn net.Conn) {
	l.paths.Go(func() { l.server.Handle(context.Background(), conn) })
}

// close ends everything and waits for it.
func (l *lab) close() {
	l.limit.Stop()
	l.server.Close()
	l.net.closeAll()
	l.paths.Wait()
	if l.t.Failed() {
		l.t.Logf("log:\n%s", l.words.String())
	}
}

func (l *lab) config() Config {
	return Config{Dial: l.net.dial, HostKey: l.key.Public().(ed25519.PublicKey), Logger: l.log}
}

// dial makes a client.
func (l *lab) dial(change ...func(*Config)) *Conn {
	l.t.Helper()
	cfg := l.config()
	for _, f := range change {
		f(&cfg)
	}
	c, err := Dial(context.Background(), cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

// pair makes both ends of a stream.
func (l *lab) pair(change ...func(*Config)) (client, server *Conn) {
	l.t.Helper()
	client = l.dial(change...)
	server, err := l.server.Accept()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := server.Vouch(); err != nil {
		l.t.Fatal(err)
	}
	return client, server
}

// exchange sends a text in each direction and checks that it arrives.
func exchange(t *testing.T, a, b *Conn, words string) {
	t.Helper()
	pass(t, a, b, words)
	pass(t, b, a, words)
}

func pass(t *testing.T, from, to *Conn, words string) {
	t.Helper()
	if _, err := from.Write([]byte(words)); err != nil {
		t.Fatalf("write: %v", err)
	}
	got := make([]byte, len(words))
	if _, err := io.ReadFull(to, got); err != nil {
		t.Fatalf("read: %v", err)
	}
	if string(got) != words {
		t.Fatalf("got %q, want %q", got, words)
	}
}

// awaitState waits until the stream has reached a state.
func awaitState(t *testing.T, c *Conn, want State) Status {
	t.Helper()
	for {
		s := c.Status()
		if s.State == want {
			return s
		}
		select {
		case <-c.Changed():
		case <-time.After(time.Hour):
			t.Fatalf("state is %v, want %v", s.State, want)
		}
	}
}

// random returns random bytes, so that any loss or repetition is noticed.
func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// A host key that is the same in every run.
var (
	fixedKey    = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	fixedPublic = fixedKey.Public().(ed25519.PublicKey)
)

var errCut = errors.New("cut")

// faultNet is a network in memory.
type faultNet struct {
	accept func(net.Conn)
	mu     sync.Mutex
	lines  []*line
	dials  int
	refuse error                   // the result of dial
	hang   bool                    // dial waits for its context
	shape  func(n int, l *line)    // called with each new line
	wrap   func(net.Conn) net.Conn // the connection that the client gets instead
}

func newFaultNet(accept func(net.Conn)) *faultNet { return &faultNet{accept: accept} }

func (f *faultNet) dial(ctx context.Context) (net.Conn, error) {
	f.mu.Lock()
	f.dials++
	n, refuse, hang, shape, wrap := f.dials, f.refuse, f.hang, f.shape, f.wrap
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if refuse != nil {
		return nil, refuse
	}
	l := newLine()
	if shape != nil {
		shape(n, l)
	}
	f.mu.Lock()
	f.lines = append(f.lines, l)
	f.mu.Unlock()
	f.accept(l.far)
	if wrap != nil {
		return wrap(l.near), nil
	}
	return l.near, nil
}

func (f *faultNet) set(change func(f *faultNet)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *faultNet) dialled() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dials
}

// latest returns the newest connection.
func (f *faultNet) latest() *line {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lines[len(f.lines)-1]
}

func (f *faultNet) cutAll() {
	f.mu.Lock()
	lines := f.lines
	f.lines = nil
	f.mu.Unlock()
	for _, l := range lines {
		l.cut()
	}
}

func (f *faultNet) closeAll() { f.cutAll() }

// line is one connection: two pipes, each with its faults.
type line struct {
	up, down  *pipe // from the client, to the client
	near, far net.Conn
}

func newLine() *line {
	l := &line{up: newPipe(), down: newPipe()}
	l.near = &lineEnd{in: l.down, out: l.up}
	l.far = &lineEnd{in: l.up, out: l.down}
	return l
}

// cut breaks both directions at once; the bytes under way are lost.
func (l *line) cut() {
	l.up.cut()
	l.down.cut()
}

// stall stops delivery in both directions.
func (l *line) stall(on bool) {
	l.up.stall(on)
	l.down.stall(on)
}

// lineEnd is a net.Conn over two pipes.
type lineEnd struct{ in, out *pipe }

func (e *lineEnd) Read(p []byte) (int, error)  { return e.in.read(p) }
func (e *lineEnd) Write(p []byte) (int, error) { return e.out.write(p) }
func (e *lineEnd) Close() error {
	e.in.closeRead()
	e.out.closeWrite()
	return nil
}
func (e *lineEnd) LocalAddr() net.Addr              { return addr("line") }
func (e *lineEnd) RemoteAddr() net.Addr             { return addr("line") }
func (e *lineEnd) SetDeadline(time.Time) error      { return nil }
func (e *lineEnd) SetReadDeadline(time.Time) error  { return nil }
func (e *lineEnd) SetWriteDeadline(time.Time) error { return nil }

// pipe is one direction of a line: a buffer as a socket has, and its faults.
type pipe struct {
	mu       sync.Mutex
	moved    *sync.Cond
	buf      []byte
	size     int
	end      error // the error that the reader gets after buf
	noReader bool  // the reader has gone
	stalled  bool
	spoil    func(p []byte) // may change written bytes
	cutAt    int            // breaks after so many bytes; 0: never
	total    int
	flight   [][]byte      // under way for delay
	flying   int           // bytes of it
	record   *bytes.Buffer // a copy of the written bytes
	most     int           // limit of bytes for a read; 0: none
	rate     int           // bytes a second that can be read; 0: no bound
	delay    time.Duration // time until written bytes arrive
}

func newPipe() *pipe {
	p := &pipe{size: 64 << 10}
	p.moved = sync.NewCond(&p.mu)
	return p
}

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.end != nil && (len(p.buf) == 0 || p.end == errCut) {
			return 0, p.end
		}
		if len(p.buf) > 0 && !p.stalled {
			break
		}
		p.moved.Wait()
	}
	if p.most > 0 {
		b = b[:min(len(b), p.most)]
	}
	if p.rate > 0 {
		b = b[:min(len(b), max(1, p.rate/10))]
	}
	n := copy(b, p.buf)
	p.buf = p.buf[n:]
	if p.rate > 0 { // the bytes have left the line only after this time
		p.mu.Unlock()
		time.Sleep(time.Duration(n) * time.Second / time.Duration(p.rate))
		p.mu.Lock()
	}
	p.moved.Broadcast()
	return n, nil
}

func (p *pipe) write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(b) {
		for p.end == nil && !p.noReader && len(p.buf)+p.flying >= p.size {
			p.moved.Wait()
		}
		if p.end != nil || p.noReader {
			return n, errCut
		}
		part := bytes.Clone(b[n:min(len(b), n+p.size-len(p.buf)-p.flying)])
		n += len(part)
		if p.spoil != nil {
			p.spoil(part)
		}
		if p.record != nil {
			p.record.Write(part)
		}
		p.total += len(part)
		if p.delay > 0 {
			p.flying += len(part)
			p.flight = append(p.flight, part)
			time.AfterFunc(p.delay, p.land)
			continue
		}
		p.buf = append(p.buf, part...)
		if p.cutAt > 0 && p.total >= p.cutAt {
			p.end = errCut
		}
		p.moved.Broadcast()
	}
	return n, nil
}

func (p *pipe) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.moved.Broadcast()
}

// land delivers the bytes that have been under way for longest.
func (p *pipe) land() {
	p.change(func() {
		p.flying -= len(p.flight[0])
		p.buf = append(p.buf, p.flight[0]...)
		p.flight = p.flight[1:]
	})
}

func (p *pipe) cut()          { p.change(func() { p.end = errCut }) }
func (p *pipe) stall(on bool) { p.change(func() { p.stalled = on }) }
func (p *pipe) closeRead()    { p.change(func() { p.noReader, p.end = true, errCut }) }
func (p *pipe) closeWrite() {
	p.change(func() {
		if p.end == nil {
			p.end = io.EOF
		}
	})
}
