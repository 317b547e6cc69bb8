package stream

import (
	"errors"
	"io"
	"net"
	"time"
)

const (
	ackDelay = 50 * time.Millisecond
	// smallAck bounds in bytes what a client acknowledges at once.
	smallAck = 1 << 10
	// maxUnsent bounds the bytes by which Write may be ahead of a working path. The ring is
	// filled only without one.
	maxUnsent = 128 << 10
)

// wire is one end of the protocol without a clock, a lock, a goroutine or a
// connection. The user's bytes, frames and the time go in; frames, effects and a
// deadline come out. A Conn joins it to all of these, and the simulation joins
// two to each other.
type wire struct {
	client bool
	tx     sendQueue
	rx     recvQueue
	det    detector
	say    control
	live   pathState

	keys  *keys  // nil until the server has answered
	epoch uint64 // of the live path, or the last one
	// confirmed reports that the other end is known to have the keys.
	confirmed bool

	ackBy  time.Time // when an ACK is due; zero: none is
	acked  time.Time // when the latest was sent
	prompt bool      // little is acknowledged at once
	closed bool      // by the user
	err    error     // why the stream has ended; nil: it has not
}

// pathState is the state of the live path.
type pathState struct {
	ready  bool          // its handshake is over; false also when there is no path
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

// effects are the consequences, outside of a wire, of one of its steps.
type effects uint8

const (
	canRead  effects = 1 << iota // Read is worth another try
	canWrite                     // Write is
	canSend                      // there is something to be sent
	pathUp                       // the path is new, or the other end has proved that it hears
	pathMute                     // the path does not answer: another is wanted
	pathLost                     // the path is to be given up
	ended                        // the stream is over, and err says why
)

func (e effects) has(one effects) bool { return e&one != 0 }

func newWire(budget *Budget, client bool) wire {
	return wire{
		client: client,
		prompt: client,
		tx:     newSendQueue(budget),
		rx:     newRecvQueue(budget),
		det:    detector{client: client},
		live:   pathState{limit: smallWindow},
	}
}

// read moves bytes to the user. No bytes and no error mean that there may be some
// later.
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

// peek appends what can be read, without taking it, and holds its memory.
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

// took records that n bytes of what peek returned were taken.
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

// atEnd returns the error of a read when there are no bytes.
func (w *wire) atEnd(now time.Time) (effects, error) {
	switch {
	case w.closed:
		return 0, net.ErrClosed
	case w.rx.atEnd():
		return w.consumed(now), io.EOF
	}
	return 0, w.err
}

// consumed is called after the user has read something.
func (w *wire) consumed(now time.Time) (do effects) {
	if w.rx.ackDue() || w.ackSmall(now) {
		w.say.ack = true
		do = canSend
	} else if w.rx.unsaid() > 0 && w.ackBy.IsZero() {
		w.ackBy = now.Add(ackDelay)
	}
	return do | w.settle()
}

// ackSmall reports whether to acknowledge at once: little was taken, and no ACK was sent
// for a while. It is most likely the echo of a keystroke, and the next one comes in
// 100 ms. Up to OpenSSH 10.0 the way to a jump host lets only one small segment be under
// way; an ACK that waited 50 ms would still be that when the next keystroke comes. The
// server's must wait, for its next echo goes the same way as its ACK.
func (w *wire) ackSmall(now time.Time) bool {
	n := w.rx.unsaid()
	return w.prompt && n > 0 && n <= smallAck && now.Sub(w.acked) >= ackDelay
}

// write takes bytes of the user, as many as there is room for.
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

// works reports whether there is a path that nothing speaks against.
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

// busy tells the detector that something is unacknowledged now.
func (w *wire) busy(now time.Time) {
	if !w.det.busy.IsZero() {
		return
	}
	w.det.sending(now, true)
	if w.det.asked.IsZero() {
		w.det.wake = w.det.pingAt()
	}
}

// finish is called when the user writes no more.
func (w *wire) finish(now time.Time) (do effects) {
	if !w.tx.fin {
		w.tx.finish()
		w.busy(now)
		do = canSend | canWrite
	}
	return do | w.settle()
}

// close is called when the user neither reads nor writes any more.
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

// abort ends the stream at once, and lets the other end know why.
func (w *wire) abort(reason error, code uint16) effects {
	if w.err != nil {
		return 0
	}
	w.say.reset, w.say.code, w.say.text = true, code, reason.Error()
	return w.end(&abortError{reason})
}

// settle ends the stream when both directions have come to their ends. Bytes
// that the user has not read yet need no path.
func (w *wire) settle() effects {
	if w.tx.done() && (w.rx.fin || w.closed) {
		return w.end(errFinished)
	}
	return 0
}

// end ends the stream, and is the only function that does.
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

// deadline returns the time at which tick must be called; zero: never. It may be earlier than
// necessary, which is rare.
func (w *wire) deadline() time.Time {
	switch {
	case w.err != nil || !w.live.ready:
		return time.Time{}
	case w.ackBy.IsZero() || w.det.wake.Before(w.ackBy) && !w.det.wake.IsZero():
		return w.det.wake
	}
	return w.ackBy
}

// tick does what is due: it sends a late ACK, and asks the detector about the
// path.
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

// probe asks whether the path still works.
func (w *wire) probe(now time.Time) effects {
	w.det.ask(now)
	return w.ping()
}

func (w *wire) ping() effects {
	w.say.ping = true
	w.say.pinged++
	return canSend
}
