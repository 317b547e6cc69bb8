package stream

import (
	"errors"
	"fmt"
	"time"
)

// opened is called at a client when the server has answered, over the live path.
func (w *wire) opened(keys *keys, now time.Time) effects {
	w.keys = keys
	w.say.confirm = true
	return w.begin(now)
}

// hello returns the message that begins to move the stream to a new path. Until the commit, the
// stream stays on its path.
func (w *wire) hello(nonce [nonceLen]byte) *resumeHello {
	w.epoch++
	hello := &resumeHello{id: w.keys.id, epoch: w.epoch, nonce: nonce}
	hello.received, hello.limit = w.rx.onNewPath()
	hello.mac = w.keys.resumeMAC(hello)
	return hello
}

// judge decides at a server whether hello may resume the stream. Code 0 means that it may;
// otherwise the code and the text are the refusal.
func (w *wire) judge(hello *resumeHello) (Code, string) {
	switch {
	case !sameMAC(hello.mac, w.keys.resumeMAC(hello)):
		return CodeProof, ""
	case hello.epoch <= w.epoch:
		return CodeFenced, fmt.Sprintf("epoch %d, have seen %d", hello.epoch, w.epoch)
	case !w.tx.maybeResumable(hello.received):
		return CodeOffset, fmt.Sprintf("%d of %d that were sent", hello.received, w.tx.sent)
	}
	return 0, ""
}

// early is the data that a server sends after resumed, before the client has committed.
type early struct {
	frames []byte
	next   uint64 // the offset after it
}

// answer makes the answer to a hello that may resume. The stream stays on its path.
func (w *wire) answer(hello *resumeHello, nonce [nonceLen]byte) (*resumed, early) {
	answer := &resumed{nonce: nonce}
	answer.received, answer.limit = w.rx.onNewPath()
	answer.mac = w.keys.resumedMAC(hello, answer)
	frames, next := w.tx.copyFrom(hello.received, hello.limit, earlyBytes)
	return answer, early{frames, next}
}

// commit makes the client's message that moves the stream to the new path.
func (w *wire) commit(hello *resumeHello, answer *resumed) (*commit, error) {
	switch {
	case !sameMAC(answer.mac, w.keys.resumedMAC(hello, answer)):
		return nil, violation("answer to resume with a wrong MAC")
	case !w.tx.maybeResumable(answer.received):
		return nil, Permanent(&Refusal{CodeOffset, fmt.Sprintf("the server has received %d bytes, of %d that were sent",
			answer.received, w.tx.sent)})
	}
	m := &commit{}
	m.received, m.limit = w.rx.onNewPath()
	m.mac = w.keys.commitMAC(hello, answer, m)
	return m, nil
}

// committed moves the client's end to the new path.
func (w *wire) committed(answer *resumed, now time.Time) effects {
	return w.attach(answer.received, answer.limit) | w.begin(now)
}

// move moves the server's end to a new path. It refuses a commit that does not belong to the hello
// and its answer, and one that is not the first of its epoch.
func (w *wire) move(hello *resumeHello, answer *resumed, m *commit, sent early, now time.Time) (effects, error) {
	switch {
	case !sameMAC(m.mac, w.keys.commitMAC(hello, answer, m)):
		return 0, violation("commit with a wrong MAC")
	case w.err != nil:
		return 0, w.err
	case hello.epoch <= w.epoch:
		return 0, ErrFenced
	case !w.tx.resumable(m.received):
		return 0, ErrOffset
	}
	w.epoch, w.confirmed = hello.epoch, true
	return w.attach(max(m.received, sent.next), m.limit) | w.begin(now), nil
}

// refused ends a client's stream for the reason that the server or Dial gave. CodeFinished is a
// normal end: the server has received everything, and only its last ACK was lost.
func (w *wire) refused(err error) effects {
	if errors.Is(err, ErrFinished) && (w.rx.fin || w.closed) {
		err = errFinished
	}
	return w.end(err)
}

// save returns the state of a client's end for another process, and ends the stream in this one.
func (w *wire) save() (*saved, effects) {
	s := &saved{keys: *w.keys, epoch: w.epoch, sent: w.tx.sent, consumed: w.rx.taken()}
	s.base = min(w.tx.base, w.tx.written()) // a FIN is a flag, even if it is acknowledged
	s.unacked = w.tx.contents()
	s.unread = make([]byte, w.rx.buffered())
	w.rx.read(s.unread)
	for flag, on := range map[byte]bool{savedSendFin: w.tx.fin, savedSendGone: w.tx.gone, savedRecvFin: w.rx.fin} {
		if on {
			s.flags |= flag
		}
	}
	w.closed = true
	return s, w.end(ErrMoved)
}

// restore sets the end of a new client to a saved state.
func (w *wire) restore(s *saved, now time.Time) {
	w.keys, w.epoch, w.confirmed = &s.keys, s.epoch, true
	w.tx.restore(s)
	w.rx.restore(s)
	w.det.sending(now, w.tx.unacked() > 0)
}
