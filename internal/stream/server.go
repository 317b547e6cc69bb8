package stream

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"keyway/internal/lobby"
)

// Bounds of a server.
const (
	maxStreams       = 256
	maxDetached      = 64
	maxDetachedBytes = 64 << 20
	maxHandshakes    = 64
	maxUnvouched     = 64
	maxUnaccepted    = 64
	graceTime        = 24 * time.Hour
	unconfirmedTime  = 2 * time.Minute
	earlyBytes       = 64 << 10 // sent behind resumed, before the commit
)

// ServerConfig configures a server.
type ServerConfig struct {
	// HostKey signs answers; its public key is an ed25519.PublicKey.
	HostKey crypto.Signer
	// Budget is shared with other streams; nil makes one of DefaultBudget.
	Budget *Budget
	// MaxStreams bounds the streams whose users have authenticated (Conn.Vouch), with a path or
	// without; 0 means 256.
	MaxStreams int
	// MaxDetached bounds the streams without a path; 0 means 64.
	MaxDetached int
	// Grace is the time for which a stream is kept without a path; 0 means 24 hours.
	Grace time.Duration
	// Logger may be nil.
	Logger Logger
}

func (c *ServerConfig) fill() error {
	if c.HostKey == nil {
		return errors.New("stream: no host key")
	}
	if _, ok := c.HostKey.Public().(ed25519.PublicKey); !ok {
		return errors.New("stream: the host key is not an Ed25519 key")
	}
	if c.Budget == nil {
		c.Budget = NewBudget(DefaultBudget)
	}
	if c.MaxStreams == 0 {
		c.MaxStreams = maxStreams
	}
	if c.MaxDetached == 0 {
		c.MaxDetached = maxDetached
	}
	if c.Grace == 0 {
		c.Grace = graceTime
	}
	if c.Logger == nil {
		c.Logger = noLogger{}
	}
	return nil
}

// Server holds the server ends of streams.
type Server struct {
	cfg    ServerConfig
	log    Logger
	queue  chan *Conn      // opened, not yet accepted
	ctx    context.Context // ended by Close
	cancel context.CancelFunc
	lobby  *lobby.Lobby // of handshakes in which the client has proved nothing yet
	paths  sync.WaitGroup
	mu     sync.Mutex // protects all fields below; is locked before the lock of a Conn
	live   map[[idLen]byte]*Conn
	dead   tombstones
	closed bool
}

// NewServer makes a server without streams.
func NewServer(cfg ServerConfig) (*Server, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg:   cfg,
		log:   cfg.Logger,
		queue: make(chan *Conn, maxUnaccepted),
		lobby: lobby.New(maxHandshakes),
		live:  map[[idLen]byte]*Conn{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Accept returns the next stream that a client has opened. After Close, it returns net.ErrClosed.
func (s *Server) Accept() (*Conn, error) {
	select {
	case c := <-s.queue:
		return c, nil
	case <-s.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Handle carries a stream over conn, a connection that begins with Magic. It returns when the
// connection or ctx ends, and closes conn; the stream continues without it. The error says why the
// connection ended. It is nil if the stream has ended.
func (s *Server) Handle(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return net.ErrClosed
	}
	s.paths.Add(1)
	s.mu.Unlock()
	defer s.paths.Done()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	p, err := s.handshake(conn)
	if err != nil {
		s.refused(err)
		return err
	}
	err = p.run()
	if err != nil && !errors.Is(err, errReplaced) {
		s.log.Info("path lost", "stream", p.c.idString(), "reason", err)
		s.retire()
	}
	return err
}

// refused logs why the server refused a path. For a finished stream that is no warning: its client
// has only missed the last ACK.
func (s *Server) refused(err error) {
	if errors.Is(err, ErrFinished) || errors.Is(err, errFinished) {
		s.log.Debug("path refused", "reason", err)
		return
	}
	s.log.Warn("path refused", "reason", err)
}

// Close ends all streams. It returns when every call of Handle has returned.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	conns := s.conns()
	s.mu.Unlock()
	s.cancel()
	for _, c := range conns {
		c.abort(errors.New("the server was shut down"), resetByEnd)
		c.Close()
	}
	s.paths.Wait()
	return nil
}

// conns returns all streams; the server's lock is held.
func (s *Server) conns() []*Conn {
	conns := make([]*Conn, 0, len(s.live))
	for _, c := range s.live {
		conns = append(conns, c)
	}
	return conns
}

// handshake reads a client's hello from conn, answers it, and attaches conn to the stream as its
// path.
func (s *Server) handshake(conn net.Conn) (*path, error) {
	place := s.lobby.Enter(0, func() { conn.Close() })
	defer place.Leave()
	release := guard(s.ctx, conn)
	defer release()
	open, resume, err := readHello(conn)
	switch {
	case err != nil:
		return nil, err
	case open != nil:
		return s.open(conn, open)
	default:
		return s.resume(conn, resume, place)
	}
}

// refuse sends the client a refusal, and returns it as an error.
func (s *Server) refuse(conn net.Conn, hello []byte, code Code, text string) error {
	answer := &refused{code: code, text: clip(text)}
	var err error
	answer.signature, err = signHello(s.cfg.HostKey, labelRefused, hello, answer.signed())
	if err != nil {
		return err
	}
	if _, err := conn.Write(answer.encode()); err != nil {
		return err
	}
	drain(conn)
	return &Refusal{code, text}
}

// drain waits until the other end closes. On some systems, closing a connection that has unread
// input drops the last bytes that were written.
func drain(conn net.Conn) {
	timer := time.AfterFunc(lastWords, func() { conn.Close() })
	defer timer.Stop()
	var scrap [512]byte
	for {
		if _, err := conn.Read(scrap[:]); err != nil {
			return
		}
	}
}

// open makes a new stream, whose first path is conn.
func (s *Server) open(conn net.Conn, hello *openHello) (*path, error) {
	answer, keys, err := s.answer(hello)
	if err != nil {
		return nil, err
	}
	c := newConn(s.log, s.cfg.Budget, false)
	c.side, c.wire.keys = &served{s: s, c: c}, keys
	p, now := newPath(c, conn), time.Now()
	c.step(now, func() effects {
		c.attach(p)
		return c.wire.open(now)
	})
	if err := s.admit(c); err != nil {
		c.stopTimer()
		return nil, s.refuse(conn, hello.encode(), CodeBusy, err.Error())
	}
	p.hello = answer.encode()
	s.log.Info("stream opened", "stream", c.idString())
	return p, nil
}

// stopTimer stops the timer of a stream that no user has seen.
func (c *Conn) stopTimer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alarm.stop()
}

// answer makes the server's half of the key exchange, signs the answer to hello, and derives the
// keys.
func (s *Server) answer(hello *openHello) (*opened, *keys, error) {
	own, err := newEphemeral()
	if err != nil {
		return nil, nil, err
	}
	answer := &opened{public: [keyLen]byte(own.PublicKey().Bytes())}
	rand.Read(answer.nonce[:])
	keys, err := deriveKeys(own, hello.public, hello, answer)
	if err != nil {
		return nil, nil, err
	}
	answer.signature, err = signHello(s.cfg.HostKey, labelOpened, hello.encode(), answer.signed())
	return answer, keys, err
}

// resume moves a stream to conn. A client that has proved its keys no longer counts as a
// stranger, so that no stranger can displace it.
func (s *Server) resume(conn net.Conn, hello *resumeHello, place *lobby.Slot) (*path, error) {
	c, code, text := s.find(hello)
	if c == nil {
		return nil, s.refuse(conn, hello.encode(), code, text)
	}
	place.Leave()
	answer, early := c.answerResume(hello)
	if _, err := conn.Write(append(answer.encode(), early.frames...)); err != nil {
		return nil, err
	}
	m, err := readCommit(conn)
	if err != nil {
		return nil, err
	}
	return c.moveTo(conn, hello, answer, m, early)
}

// find returns the stream that hello may continue, or the reason for a refusal. It changes nothing.
func (s *Server) find(hello *resumeHello) (*Conn, Code, string) {
	s.mu.Lock()
	c, ok := s.live[hello.id]
	end, ended := s.dead.find(hello.id)
	s.mu.Unlock()
	switch {
	case ok:
		code, text := c.mayResume(hello)
		if code != 0 {
			c = nil
		}
		return c, code, text
	case ended && sameMAC(hello.mac, end.keys.resumeMAC(hello)):
		return nil, end.code, end.text
	case ended:
		return nil, CodeProof, ""
	default:
		return nil, CodeUnknown, ""
	}
}

func (c *Conn) mayResume(hello *resumeHello) (Code, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wire.judge(hello)
}

func (c *Conn) answerResume(hello *resumeHello) (*resumed, early) {
	var nonce [nonceLen]byte
	rand.Read(nonce[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wire.answer(hello, nonce)
}

// moveTo attaches the new path, then closes the old one.
func (c *Conn) moveTo(conn net.Conn, hello *resumeHello, answer *resumed, m *commit, sent early) (*path, error) {
	p, now := newPath(c, conn), time.Now()
	var old *path
	var err error
	c.step(now, func() (do effects) {
		if do, err = c.wire.move(hello, answer, m, sent, now); err != nil {
			return 0
		}
		c.life.resume(now)
		old = c.attach(p)
		c.log.Info("stream resumed", "stream", c.idString(), "epoch", hello.epoch)
		return do
	})
	if err != nil {
		return nil, err
	}
	if old != nil {
		old.close()
	}
	return p, nil
}

// served is the side of a stream at its server.
type served struct {
	s *Server
	c *Conn
	// Under the Conn's lock.
	since   time.Time // when the path was lost
	vouched bool      // its user has authenticated
}

func (v *served) suspect() {}
func (v *served) trusted() {}

func (v *served) lost(_ *path, now time.Time) {
	grace := v.s.cfg.Grace
	text := fmt.Sprintf("nobody came back for %v", grace)
	if !v.c.wire.confirmed || !v.vouched {
		grace = min(grace, unconfirmedTime)
		text = fmt.Sprintf("its client was never heard of again, for %v", grace)
	}
	v.since = now
	v.c.life.until = now.Add(grace)
	v.c.life.expired = &Refusal{CodeExpired, text}
}

// ended removes the stream from the server, which remembers only why it ended.
func (v *served) ended(err error) {
	v.s.mu.Lock()
	delete(v.s.live, v.c.wire.keys.id)
	v.s.dead.add(v.c.wire.keys, err)
	v.s.mu.Unlock()
	v.c.SetDeadline(time.Time{})
	v.s.log.Info("stream ended", "stream", v.c.idString(), "reason", err)
}

func (v *served) closed() error { return nil }

func (v *served) addr() (local, remote string) { return "server", "client " + v.c.idString() }
