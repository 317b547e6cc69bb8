package pipe

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// link is a TCP connection: bytes that a test writes to far arrive at near.
type link struct{ near, far *net.TCPConn }

func newLink(t *testing.T) link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	for _, c := range []net.Conn{near, far} {
		_ = c.SetDeadline(time.Now().Add(time.Minute))
	}
	return link{near.(*net.TCPConn), far.(*net.TCPConn)}
}

// say writes text and ends the sending side.
func say(t *testing.T, conn *net.TCPConn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// hear reads until the end.
func hear(t *testing.T, conn io.Reader, want string) {
	t.Helper()
	if got, err := io.ReadAll(conn); err != nil || string(got) != want {
		t.Errorf("%d bytes came (%v), want %d: %.40q", len(got), err, len(want), got)
	}
}

// returns waits for the end of a relay.
func returns(t *testing.T, ended <-chan struct{}) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the relay does not return")
	}
}

func inBackground(f func()) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f()
	}()
	return ended
}

// much is more than a relay buffers.
var much = strings.Repeat("0123456789abcdef", 1<<18) // 4 MiB

// relaying relays between two connections. Closing closed marks the whole channel as closed.
func relaying(t *testing.T) (user, server *net.TCPConn, closed chan struct{}, ended <-chan struct{}) {
	t.Helper()
	a, b := newLink(t), newLink(t)
	closed = make(chan struct{})
	s := new(Buffers)
	ended = inBackground(func() { s.Relay(a.near, b.near, func() { <-closed }) })
	return a.far, b.far, closed, ended
}

// TestRelayPassesOnEachEnd checks that each direction ends by itself, whichever is first, and that
// the other one loses nothing.
func TestRelayPassesOnEachEnd(t *testing.T) {
	for name, order := range map[string]func(user, server *net.TCPConn) (first, second *net.TCPConn){
		"the connection first": func(user, server *net.TCPConn) (_, _ *net.TCPConn) { return user, server },
		"the channel first":    func(user, server *net.TCPConn) (_, _ *net.TCPConn) { return server, user },
	} {
		t.Run(name, func(t *testing.T) {
			user, server, closed, ended := relaying(t)
			first, second := order(user, server)
			said := inBackground(func() { say(t, first, much) })
			hear(t, second, much)
			<-said
			said = inBackground(func() { say(t, second, much) })
			hear(t, first, much)
			<-said
			close(closed)
			returns(t, ended)
		})
	}
}

// TestRelayWhoseSideTakesNoMore checks that bytes under way to or from the other side arrive after
// one side has stopped reading.
func TestRelayWhoseSideTakesNoMore(t *testing.T) {
	user, server, closed, ended := relaying(t)
	if err := user.CloseRead(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(user, "the rest of a request"); err != nil {
		t.Fatal(err)
	}
	_ = user.CloseWrite()
	hear(t, server, "the rest of a request")
	_ = server.Close()
	close(closed)
	returns(t, ended)
}

// TestRelayEndsWithItsChannel checks that the last bytes of a channel that is closed as a whole are
// written, and that a silent connection ends after that.
func TestRelayEndsWithItsChannel(t *testing.T) {
	user, server, closed, ended := relaying(t)
	say(t, server, "the last words")
	close(closed)
	hear(t, user, "the last words")
	returns(t, ended)
	if _, err := server.Read(make([]byte, 1)); err == nil {
		t.Error("the channel is still open")
	}
}

// TestRelayWithASideThatNeverReads checks that a side that never reads blocks its own direction
// only, and only until closed.
func TestRelayWithASideThatNeverReads(t *testing.T) {
	a, b := newLink(t), newLink(t)
	closed := make(chan struct{})
	ended := inBackground(func() {
		new(Buffers).Relay(a.near, b.near, func() {
			<-closed
			_ = a.near.SetWriteDeadline(time.Unix(1, 0))
		})
	})
	blocked := inBackground(func() {
		for {
			if _, err := b.far.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	})
	_, _ = io.WriteString(a.far, "still heard")
	got := make([]byte, len("still heard"))
	if _, err := io.ReadFull(b.far, got); err != nil || string(got) != "still heard" {
		t.Errorf("%q, %v", got, err)
	}
	close(closed)
	returns(t, ended)
	<-blocked
}

// reader returns its bytes and then err. It counts the calls of Close.
type reader struct {
	io.Reader
	err    error
	closed atomic.Int32
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = r.err
	}
	return n, err
}

func (r *reader) Close() error {
	r.closed.Add(1)
	return nil
}

// TestCarryPassesOnTheEndOfItsInput checks that the end of a request is passed on as a half-close,
// and that the whole answer arrives.
func TestCarryPassesOnTheEndOfItsInput(t *testing.T) {
	guest := newLink(t)
	in, out := &reader{Reader: strings.NewReader(much), err: io.EOF}, new(bytes.Buffer)
	ended := inBackground(func() { new(Buffers).Carry(guest.near, in, out) })
	hear(t, guest.far, much)
	say(t, guest.far, "answer")
	returns(t, ended)
	if out.String() != "answer" || in.closed.Load() != 1 {
		t.Errorf("%q came, and the request was closed %d times", out, in.closed.Load())
	}
}

// TestCarryWhoseInputBreaks checks that a request that breaks ends the connection as a whole.
func TestCarryWhoseInputBreaks(t *testing.T) {
	guest := newLink(t)
	ended := inBackground(func() {
		new(Buffers).Carry(guest.near, &reader{Reader: strings.NewReader("half"), err: io.ErrUnexpectedEOF}, io.Discard)
	})
	returns(t, ended) // although the guest has said nothing
}

// TestCarryEndsWithItsConnection checks that the end of a guest ends the stream, even if the
// request has more bytes.
func TestCarryEndsWithItsConnection(t *testing.T) {
	guest := newLink(t)
	in, feed := io.Pipe()
	defer feed.Close()
	out := new(bytes.Buffer)
	ended := inBackground(func() { new(Buffers).Carry(guest.near, in, out) })
	say(t, guest.far, "goodbye")
	returns(t, ended)
	if out.String() != "goodbye" {
		t.Errorf("%q came", out)
	}
}

// TestCarryToAConnectionThatTakesNoMore checks that the last output of a guest that has stopped
// reading is still passed on.
func TestCarryToAConnectionThatTakesNoMore(t *testing.T) {
	refusing := refusal{strings.NewReader("the reason")}
	in, out := &reader{Reader: strings.NewReader(much), err: io.EOF}, new(bytes.Buffer)
	new(Buffers).Carry(refusing, in, out)
	if out.String() != "the reason" {
		t.Errorf("%q came", out)
	}
}

// refusal is a connection whose writes fail.
type refusal struct{ io.Reader }

func (refusal) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
func (refusal) Close() error              { return nil }

// TestStdio checks that standard input may stay open for ever: the other end decides when the
// connection ends.
func TestStdio(t *testing.T) {
	guest := newLink(t)
	in, feed := io.Pipe()
	out := new(bytes.Buffer)
	var err error
	ended := inBackground(func() { err = Stdio(guest.near, in, out) })
	_, _ = io.WriteString(feed, "question")
	got := make([]byte, len("question"))
	if _, err := io.ReadFull(guest.far, got); err != nil {
		t.Fatal(err)
	}
	say(t, guest.far, "answer")
	returns(t, ended)
	if err != nil || out.String() != "answer" {
		t.Errorf("%q, %v", out, err)
	}
	feed.Close()
	hear(t, guest.far, "") // the end of the input is still passed on
}

// TestCopyErrors checks that Copy distinguishes an error of the reader from one of the writer.
func TestCopyErrors(t *testing.T) {
	s, failure := new(Buffers), errors.New("failure")
	var write *writeError
	if err := s.Copy(io.Discard, &reader{Reader: strings.NewReader("x"), err: failure}); !errors.Is(err, failure) || errors.As(err, &write) {
		t.Errorf("of the reader: %v", err)
	}
	if err := s.Copy(refusal{}, strings.NewReader("x")); !errors.Is(err, io.ErrClosedPipe) || !errors.As(err, &write) {
		t.Errorf("of the writer: %v", err)
	}
	if err := s.Copy(io.Discard, strings.NewReader(much)); err != nil {
		t.Errorf("at the end: %v", err)
	}
}

// TestBuffers checks that the zero value has buffers, and that a value gives those of its size.
func TestBuffers(t *testing.T) {
	for _, size := range []int{0, 1, 32 << 10} {
		s := Buffers{Size: size}
		b := s.Get()
		if len(*b) == 0 || size > 0 && len(*b) != size {
			t.Errorf("size %d: %d bytes", size, len(*b))
		}
		s.Put(b)
	}
}

// taker is an end that implements ReadFrom, as the kernel's files and sockets do in order to
// splice.
type taker struct {
	io.Reader
	from []io.Reader
	took chan struct{}
}

func (k *taker) ReadFrom(r io.Reader) (int64, error) {
	k.from = append(k.from, r)
	close(k.took)
	return 0, nil
}
func (*taker) Write([]byte) (int, error) { return 0, errors.New("bytes pass through the process") }
func (*taker) Close() error              { return nil }
func (*taker) CloseWrite() error         { return nil }

// TestStdioLeavesTheCopyToTheKernel checks that both ends of Stdio see each other, so that the
// kernel can move the bytes by itself.
func TestStdioLeavesTheCopyToTheKernel(t *testing.T) {
	in := &reader{Reader: strings.NewReader(""), err: io.EOF}
	conn, out := &taker{took: make(chan struct{})}, &taker{took: make(chan struct{})}
	if err := Stdio(conn, in, out); err != nil {
		t.Fatal(err)
	}
	<-conn.took
	if conn.from[0] != io.Reader(in) || out.from[0] != io.Reader(conn) {
		t.Errorf("they were given %T and %T", conn.from[0], out.from[0])
	}
}
