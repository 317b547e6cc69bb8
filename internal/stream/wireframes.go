package stream

import "time"

// frame handles f, a frame of the live path, which is a part of the chunk in. An error is a
// violation of the protocol, and ends the path.
func (w *wire) frame(f frame, in *chunk, now time.Time) (effects, error) {
	if w.err != nil {
		return 0, nil // an ended stream needs no frames
	}
	w.det.heard = now
	switch f.typ {
	case frameData:
		return w.data(f, in, now)
	case frameAck:
		return w.ack(f, now)
	case framePing:
		w.say.pong, w.say.asked = true, f.offset()
		return canSend, nil
	case framePong:
		return w.pong(f, now), nil
	case frameFin:
		return w.fin(f, now)
	case frameReset:
		return w.end(&ResetError{string(f.payload[2:])}), nil
	case frameStop:
		w.tx.abandon()
		w.det.sending(now, false)
		return canWrite | w.settle(), nil
	case frameConfirm:
		return 0, w.confirm(f)
	}
	return 0, nil
}

func (w *wire) data(f frame, in *chunk, now time.Time) (effects, error) {
	if err := w.rx.data(f.offset(), f.data(), in, now); err != nil {
		return 0, err
	}
	w.live.proven = true
	if w.closed {
		return canRead | w.consumed(now), nil
	}
	return canRead, nil
}

func (w *wire) ack(f frame, now time.Time) (effects, error) {
	base := w.tx.base
	if err := w.tx.ack(f.offset()); err != nil {
		return 0, err
	}
	w.live.limit = f.limit()
	if w.tx.base == base {
		return canSend, nil
	}
	do := w.proved(now)
	w.det.sending(now, w.tx.unacked() > 0)
	return do | canSend | canWrite | w.settle(), nil
}

func (w *wire) pong(f frame, now time.Time) effects {
	if f.offset() != w.say.pinged || w.say.ping || w.live.pinged.IsZero() {
		return 0 // the answer to an earlier PING
	}
	if took := now.Sub(w.live.pinged); w.live.rtt == 0 || took < w.live.rtt {
		w.live.rtt = took
	}
	w.rx.narrowed()
	return w.proved(now)
}

func (w *wire) fin(f frame, now time.Time) (effects, error) {
	if err := w.rx.end(f.offset()); err != nil {
		return 0, err
	}
	return canRead | w.consumed(now), nil
}

func (w *wire) confirm(f frame) error {
	if w.client || !sameMAC([macLen]byte(f.payload), w.keys.confirmMAC()) {
		return violation("CONFIRM")
	}
	w.confirmed = true
	return nil
}

// proved is called when the other end has proved that it receives.
func (w *wire) proved(now time.Time) effects {
	w.det.proved(now)
	w.live.proven = true
	return pathUp
}

// next returns the bytes to send on the live path now: words, the control frames, and then data.
// data is a part of the slab from, and is valid until release. words is appended to said.
func (w *wire) next(said []byte, now time.Time) (words, data []byte, from *slab, do effects) {
	if w.err == nil {
		from, data = w.tx.take(maxBatch, w.live.limit)
		if len(data) > 0 {
			do = canWrite
		}
	}
	if w.live.ready {
		said = w.words(said, len(data) > 0 && len(data) <= smallBatch, now)
	}
	return said, data, from, do
}

// words appends the control frames to b. more reports whether much data follows. A small write
// takes an ACK along. Beside much data, an ACK would be a write of its own, which every relay on
// the route forwards separately, so it waits until it is due.
func (w *wire) words(b []byte, more bool, now time.Time) []byte {
	s := &w.say
	if s.confirm {
		sum := w.keys.confirmMAC()
		b = appendFrame(b, frameConfirm, sum[:])
	}
	if s.pong {
		b = appendNumbers(b, framePong, s.asked)
	}
	if s.ack || (more || len(b) > 0 || s.ping) && w.rx.unsaid() > 0 {
		w.measure(now)
		consumed, limit := w.rx.ack(now, w.live.rtt)
		b = appendNumbers(b, frameAck, consumed, limit)
		w.ackBy, w.acked = time.Time{}, now
	}
	if s.narrow && w.rx.wide() {
		consumed, limit := w.rx.narrow()
		b = appendNumbers(b, frameAck, consumed, limit)
	}
	if s.ping {
		w.live.pinged = now
		b = appendNumbers(b, framePing, s.pinged)
	}
	if s.stop {
		b = appendFrame(b, frameStop)
	}
	if s.reset {
		b = appendReset(b, s.code, s.text)
	}
	*s = control{pinged: s.pinged}
	return b
}

// measure has a PING sent now and then while bytes come. The size of the window depends on the
// round trip that it measures.
func (w *wire) measure(now time.Time) {
	if w.rx.much() && now.Sub(w.live.pinged) >= time.Second && w.det.asked.IsZero() {
		w.ping()
	}
}

// attach begins a path. It sends the bytes from the offset next on again, up to limit.
func (w *wire) attach(next, limit uint64) effects {
	w.tx.rewind(next)
	w.live = pathState{limit: limit}
	w.say = control{pinged: w.say.pinged, ack: true, stop: w.closed && !w.rx.fin}
	w.ackBy = time.Time{}
	return canSend
}

// open begins a server's first path. Nothing was received that an ACK could say, and alone it would
// hold up the first data (see serverAckDelay).
func (w *wire) open(now time.Time) effects {
	do := w.attach(0, smallWindow) | w.begin(now)
	w.say.ack = false
	return do &^ canSend
}

// begin is called when the handshake of the live path has ended.
func (w *wire) begin(now time.Time) effects {
	w.live.ready = true
	w.det.begin(now)
	w.det.sending(now, w.tx.unacked() > 0)
	w.det.wake = w.det.pingAt()
	return canSend | pathUp
}

// detach is called when the stream has lost its path.
func (w *wire) detach() { w.live.ready, w.live.proven = false, false }
