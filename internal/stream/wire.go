package stream

import (
	"errors"
	"io"
	"net"
	"time"
)

const (
	// ackDelay is the time after which a client acknowledges what no data takes along.
	ackDelay = 50 * time.Millisecond
	// serverAckDelay is the same for a server, for at most patientAck bytes. Behind a bastion, its
	// ACK alone would hold up the next answer until the laptop has acknowledged the packet with the
	// ACK, which that delays. So the server leaves ACKs to its answers (that of a FIN to its own
	// FIN) for as long as its client does not ask (busyPing).
	serverAckDelay = time.Second
	// patientAck is more than an ssh sends between two answers of a login, and less than smallSlab,
	// which without a budget is the client's whole ring.
	patientAck = 4 << 10
	// smallAck bounds the bytes that a client acknowledges at once.
	smallAck = 1 << 10
	// maxUnsent bounds the bytes by which Write may be ahead of a working path. Without a working
	// path, Write may fill the ring.
	maxUnsent = 128 << 10
)

// wire is one end of the protocol without a clock, a lock, a goroutine or a connection. The user's
// bytes, frames and the time go in; frames, effects and a deadline come out. A Conn connects a wire
// to these four. The simulation connects two wires to each other.
type wire struct {
	client bool
	tx     sendQueue
	rx     recvQueue
	det    detector
	say    control
	live   pathState

	keys  *keys  // nil until the server has answered
	epoch uint64 // of the live path, or the last one
	// confirmed is true when the other end has proved that it has the keys.
	confirmed bool

	ackBy    time.Time // when an ACK is due; zero: never
	ackAfter time.Duration
	acked    time.Time // when the latest was sent
	prompt   bool      // little is acknowledged at once
	closed   bool      // by the user
	err      error     // why the stream has ended; nil: it has not
}

// pathState is the state of the live path.
type pathState struct {
	ready  bool          // its handshake has ended; false if there is no path
	proven bool          // it has carried something
	limit  uint64        // the offset up to which the peer takes bytes
	rtt    time.Duration // the shortest round trip; 0: not known
	pinged time.Time     // when the latest PING was sent
}

// control holds the frames to send besides DATA and FIN.
type control struct {
	confirm bool
	ack     bool
	narrow  bool
	ping    bool
	pong    bool
	stop    bool
	reset   bool
	pinged  uint64 // payload of the latest PING
	asked   uint64 // payload of the PING to be answered
	code    uint16 // of the RESET
	text    string
}

// effects are the demands of a step of a wire on its caller.
type effects uint8

const (
	canRead  effects = 1 << iota // a waiting Read is to try again
	canWrite                     // a waiting Write is to try again
	canSend                      // there is something to send
	pathUp                       // the path is new, or the other end has proved that it receives
	pathMute                     // the path does not answer, and another one is wanted
	pathLost                     // the path must be given up
	ended                        // the stream has ended, and err is the reason
)

func (e effects) has(one effects) bool { return e&one != 0 }

func newWire(budget *Budget, client bool) wire {
	w := wire{
		client:   client,
		prompt:   client,
		ackAfter: ackDelay,
		tx:       newSendQueue(budget),
		rx:       newRecvQueue(budget),
		det:      detector{client: client},
		live:     pathState{limit: smallWindow},
	}
	if !client {
		w.ackAfter = serverAckDelay
	}
	return w
}

// read copies received bytes to p. If it returns neither bytes nor an error, bytes may come later.
func (w *wire) read(p []byte, now time.Time) (n int, do effects, err error) {
	if !w.closed {
		n = w.rx.read(p)
	}
	if n > 0 {
		return n, w.consumed(now), nil
	}
	do, err = w.atEnd(now)
	return 0, do, err
}

// peek appends the bytes that can be read to bufs without consuming them. It appends the chunks
// that hold them to held, with a reference each.
func (w *wire) peek(bufs net.Buffers, held []*chunk, now time.Time) (net.Buffers, effects, error) {
	if !w.closed {
		bufs = w.rx.peek(bufs, held)
	}
	if len(bufs) > 0 {
		return bufs, 0, nil
	}
	do, err := w.atEnd(now)
	return nil, do, err
}

// took marks n of the bytes that peek returned as consumed, and drops the references.
func (w *wire) took(n int, held []*chunk, now time.Time) (do effects) {
	if !w.closed {
		w.rx.advance(n)
		do = w.consumed(now)
	}
	for i, chunk := range held {
		chunk.drop()
		held[i] = nil
	}
	return do
}

// atEnd returns the error of a read that has found no bytes; nil if bytes may come later.
func (w *wire) atEnd(now time.Time) (effects, error) {
	switch {
	case w.closed:
		return 0, net.ErrClosed
	case w.rx.atEnd():
		return w.consumed(now), io.EOF
	}
	return 0, w.err
}

// consumed is called after the user has read bytes, and decides whether to acknowledge them now.
func (w *wire) consumed(now time.Time) effects {
	do := w.settle()
	n := w.rx.unsaid()
	switch {
	case n == 0 || w.err != nil:
	case w.rx.much() || w.rx.fin && (w.client || w.tx.fin) || w.ackSmall(now):
		w.say.ack = true
		do |= canSend
	case n > patientAck:
		w.ackBy = sooner(w.ackBy, now.Add(ackDelay))
	default:
		w.ackBy = sooner(w.ackBy, now.Add(w.ackAfter))
	}
	return do
}

// ackSmall reports whether to acknowledge at once: the user has read little, and no ACK was sent
// for a while. The bytes are most likely the echo of a keystroke, and the next keystroke comes in
// about 100 ms. Before OpenSSH 10.1, a connection to a jump host has only one small segment under
// way. An ACK that is sent 50 ms later would still be under way when the next keystroke comes. At
// the server the ACK must wait, because its next echo travels in the same direction.
func (w *wire) ackSmall(now time.Time) bool {
	n := w.rx.unsaid()
	return w.prompt && n > 0 && n <= smallAck && now.Sub(w.acked) >= ackDelay
}

// write takes as many bytes of p as there is room for, and returns their number.
func (w *wire) write(p []byte, now time.Time) (int, effects, error) {
	if err := w.writeErr(); err != nil {
		return 0, 0, err
	}
	if w.works() && w.tx.unsent() >= maxUnsent {
		return 0, 0, nil
	}
	n := w.tx.append(p)
	if n == 0 {
		return 0, 0, nil
	}
	w.busy(now)
	return n, canSend, nil
}

// works reports whether there is a path that the detector does not suspect.
func (w *wire) works() bool { return w.live.ready && !w.det.suspected }

func (w *wire) writeErr() error {
	switch {
	case w.closed:
		return net.ErrClosed
	case w.tx.fin:
		return io.ErrClosedPipe
	case w.tx.gone && (w.err == nil || errors.Is(w.err, errFinished)):
		return ErrStopped
	case errors.Is(w.err, errFinished):
		return io.ErrClosedPipe
	}
	return w.err
}

// busy tells the detector that something is unacknowledged from now on.
func (w *wire) busy(now time.Time) {
	if !w.det.busy.IsZero() {
		return
	}
	w.det.sending(now, true)
	if w.det.asked.IsZero() {
		w.det.wake = w.det.pingAt()
	}
}

// finish is called when the user has closed the writing direction.
func (w *wire) finish(now time.Time) (do effects) {
	if !w.tx.fin {
		w.tx.finish()
		w.busy(now)
		do = canSend | canWrite
	}
	return do | w.settle()
}

// close is called when the user has closed both directions.
func (w *wire) close(now time.Time) effects {
	if w.closed {
		return 0
	}
	w.closed = true
	w.say.stop = !w.rx.fin
	w.rx.abandon()
	if w.err != nil {
		w.rx.release()
		return canRead | canWrite
	}
	w.say.ack = true
	return canRead | canWrite | canSend | w.finish(now)
}

// abort ends the stream at once, and has a RESET with the code sent to the other end.
func (w *wire) abort(reason error, code uint16) effects {
	if w.err != nil {
		return 0
	}
	w.say.reset, w.say.code, w.say.text = true, code, reason.Error()
	return w.end(&abortError{reason})
}

// settle ends the stream when both directions have ended, and has what is not acknowledged yet
// acknowledged. Bytes that the user has not read yet need no path.
func (w *wire) settle() effects {
	if w.err != nil || !w.tx.done() || !w.rx.fin && !w.closed {
		return 0
	}
	w.say.ack = w.say.ack || w.rx.unsaid() > 0
	return w.end(errFinished)
}

// end ends the stream. No other function does.
func (w *wire) end(err error) effects {
	if w.err != nil {
		return 0
	}
	w.err = err
	w.tx.abandon()
	if w.closed {
		w.rx.release()
	}
	return ended
}

// deadline returns the time at which tick must be called; zero: never. In rare cases it is earlier
// than necessary.
func (w *wire) deadline() time.Time {
	switch {
	case w.err != nil || !w.live.ready:
		return time.Time{}
	case w.ackBy.IsZero() || w.det.wake.Before(w.ackBy) && !w.det.wake.IsZero():
		return w.det.wake
	}
	return w.ackBy
}

// tick handles what is due: it sends a late ACK, begins to shrink an unused window, and asks the
// detector about the path.
func (w *wire) tick(now time.Time) (do effects) {
	if w.err != nil || !w.live.ready {
		return 0
	}
	if !w.ackBy.IsZero() && !now.Before(w.ackBy) {
		w.ackBy = time.Time{}
		w.say.ack = w.rx.unsaid() > 0
		do |= canSend
	}
	if w.rx.wide() && !w.rx.giving && now.Sub(w.rx.came) >= clientPing {
		w.say.narrow = true
		do |= w.ping()
	}
	switch w.det.judge(now) {
	case pathAsk:
		do |= w.ping()
	case pathSuspect:
		do |= pathMute
	case pathDead:
		do |= pathLost
	}
	return do
}

// probe has a PING sent to find out whether the path still works.
func (w *wire) probe(now time.Time) effects {
	w.det.ask(now)
	return w.ping()
}

func (w *wire) ping() effects {
	w.say.ping = true
	w.say.pinged++
	return canSend
}
