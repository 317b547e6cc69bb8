package stream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestSendQueue compares the send queue with a model, a list of bytes.
func TestSendQueue(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	budget := NewBudget(2 << 20)
	q := newSendQueue(budget)
	written := []byte{}
	var got []byte // the bytes that a peer has, without gaps
	for range 4000 {
		switch r.IntN(6) {
		case 0, 1:
			p := random(r, 1+r.IntN(40<<10))
			n := q.append(p)
			written = append(written, p[:n]...)
		case 2, 3:
			s, b := q.take(1+r.IntN(maxBatch), q.base+uint64(r.IntN(400<<10)))
			got = receive(t, got, b)
			q.release(s)
		case 4:
			if err := q.ack(q.base + uint64(r.Int64N(int64(uint64(len(got))-q.base)+1))); err != nil {
				t.Fatal(err)
			}
		case 5:
			q.rewind(uint64(len(got)))
			early, next := q.copyFrom(uint64(len(got)), uint64(len(got)+r.IntN(200<<10)), 64<<10)
			if len(early) > 64<<10 {
				t.Fatalf("a copy of %d bytes", len(early))
			}
			if got = receive(t, got, early); len(early) > 0 && next != uint64(len(got)) {
				t.Fatalf("copied up to %d, said %d", len(got), next)
			}
		}
		if q.held > maxRing || budget.Used() > 2<<20 {
			t.Fatalf("holds %d, %d of the budget", q.held, budget.Used())
		}
	}
	q.finish()
	q.rewind(uint64(len(got)))
	for {
		s, b := q.take(maxBatch, 1<<60)
		if b == nil {
			break
		}
		got = receive(t, got, b)
		q.release(s)
	}
	if !bytes.Equal(got, written) {
		t.Fatalf("%d bytes came, %d were written", len(got), len(written))
	}
	if err := q.ack(q.end); err != nil || !q.done() || q.held != 0 || budget.Used() != 0 {
		t.Errorf("%v; done %v, holds %d, %d of the budget", err, q.done(), q.held, budget.Used())
	}
	if err := q.ack(q.end + 1); !errors.Is(err, errViolation) {
		t.Errorf("an ACK of what was never sent: %v", err)
	}
}

// receive appends the new bytes of the frames b.
func receive(t *testing.T, got, b []byte) []byte {
	t.Helper()
	for len(b) > 0 {
		f, n, err := parseFrame(b)
		if err != nil || f.typ == 0 {
			t.Fatalf("frame: %v", err)
		}
		b = b[n:]
		if f.typ == frameFin {
			if f.offset() != uint64(len(got)) {
				t.Fatalf("FIN at %d, have %d", f.offset(), len(got))
			}
			continue
		}
		if f.offset() > uint64(len(got)) {
			t.Fatalf("DATA at %d, have %d", f.offset(), len(got))
		}
		if skip := uint64(len(got)) - f.offset(); skip < uint64(len(f.data())) {
			got = append(got, f.data()[skip:]...)
		}
	}
	return got
}

// TestSmallWritesShareAFrame checks that small writes that wait become one frame.
func TestSmallWritesShareAFrame(t *testing.T) {
	q := newSendQueue(NewBudget(0))
	for range 100 {
		q.append([]byte("x"))
	}
	_, b := q.take(maxBatch, 1<<20)
	if want := dataStart + 100; len(b) != want {
		t.Errorf("%d bytes for 100 writes of one, want %d", len(b), want)
	}
}

// TestPinnedSlabIsNotRecycled checks that a slab that a stuck writer still holds is not reused.
func TestPinnedSlabIsNotRecycled(t *testing.T) {
	q := newSendQueue(NewBudget(0))
	q.append([]byte("held by a stuck writer"))
	s, b := q.take(maxBatch, 1<<20)
	kept := string(b)
	q.ack(q.end)
	for range 10 {
		other := newSendQueue(NewBudget(0))
		other.append(bytes.Repeat([]byte{'!'}, 1000))
		if other.slabs[0] == s {
			t.Fatal("the slab is in use again")
		}
	}
	if string(b) != kept {
		t.Error("the bytes have changed")
	}
}

func TestReceiveQueueRefuses(t *testing.T) {
	now := time.Now()
	c := newChunk(true)
	for name, do := range map[string]func(q *recvQueue) error{
		"a gap":            func(q *recvQueue) error { return q.data(11, c.buf[:1], c, now) },
		"beyond the limit": func(q *recvQueue) error { return q.data(smallWindow-1, c.buf[:2], c, now) },
		"an overflow":      func(q *recvQueue) error { return q.data(1<<64-1, c.buf[:2], c, now) },
		"FIN with a gap":   func(q *recvQueue) error { return q.end(11) },
		"FIN too early":    func(q *recvQueue) error { return q.end(9) },
		"DATA after FIN":   func(q *recvQueue) error { return errors.Join(q.end(10), q.data(10, c.buf[:2], c, now)) },
		"two FINs":         func(q *recvQueue) error { return errors.Join(q.end(10), q.end(11)) },
	} {
		q := newRecvQueue(NewBudget(0))
		if err := q.data(0, c.buf[:10], c, now); err != nil {
			t.Fatal(err)
		}
		if err := do(&q); !errors.Is(err, errViolation) {
			t.Errorf("%s: %v", name, err)
		}
		q.abandon()
	}
	q := newRecvQueue(NewBudget(0))
	if err := errors.Join(q.data(0, c.buf[:10], c, now), q.data(5, c.buf[5:12], c, now), q.data(2, c.buf[:3], c, now), q.end(12), q.end(12)); err != nil {
		t.Errorf("repetitions: %v", err)
	}
	if q.received != 13 || q.buffered() != 12 {
		t.Errorf("received %d, %d to be read", q.received, q.buffered())
	}
}

// TestHostileFramesHoldLittle checks that memory stays within its bound for any peer, such as one
// that sends one byte and much noise in each chunk.
func TestHostileFramesHoldLittle(t *testing.T) {
	q := newRecvQueue(NewBudget(0))
	now := time.Now()
	for size := range []int{1, smallData - 1, smallData, 5000} {
		size++
		for at := uint64(0); at+uint64(size) <= smallWindow; at += uint64(size) {
			c := newChunk(true) // as if the rest of it were PINGs
			if err := q.data(q.received, c.buf[:size], c, now); err != nil {
				break
			}
			c.drop()
		}
		if most := 9*smallWindow/4 + 2*largeChunk; q.live > most {
			t.Errorf("frames of %d bytes hold %d, at most %d may be", size, q.live, most)
		}
		for q.buffered() > 0 {
			q.read(make([]byte, 64<<10))
		}
		q.ack(now, 0)
		if q.live != 0 || q.tail != nil {
			t.Errorf("%d bytes are held of nothing", q.live)
		}
	}
}

func TestDetector(t *testing.T) {
	start := time.Now()
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	type step struct {
		at   float64
		do   string
		want verdict
	}
	for name, steps := range map[string][]step{
		"idle":            {{14.9, "", pathFine}, {15, "", pathAsk}, {15.1, "proof", pathFine}, {30, "", pathFine}, {30.1, "", pathAsk}},
		"busy":            {{1, "send", pathFine}, {2.9, "", pathFine}, {3, "", pathAsk}, {5.9, "", pathFine}, {6, "", pathSuspect}, {12.9, "", pathSuspect}, {13, "", pathDead}},
		"moves":           {{1, "send", pathFine}, {2.9, "proof", pathFine}, {4.8, "proof", pathFine}, {6.7, "proof", pathFine}, {8.7, "", pathAsk}},
		"recovers":        {{15, "", pathAsk}, {18, "", pathSuspect}, {20, "proof", pathFine}, {34.9, "", pathFine}, {35, "", pathAsk}},
		"we stood still":  {{15, "", pathAsk}, {40, "", pathAsk}, {42.9, "", pathFine}, {43, "", pathSuspect}},
		"hearing is none": {{14, "heard", pathFine}, {15, "", pathAsk}},
	} {
		d := detector{client: true}
		d.begin(start)
		for _, s := range steps {
			now := at(s.at)
			switch s.do {
			case "send":
				d.sending(now, true)
			case "proof":
				d.proved(now)
			case "heard":
				d.heard = now
			}
			if got := d.judge(now); got != s.want {
				t.Errorf("%s, at %v: %v, want %v", name, s.at, got, s.want)
			}
		}
	}
	patient := detector{client: true}
	for i, want := range []time.Duration{suspectTime, 2 * suspectTime, 4 * suspectTime, 8 * suspectTime, 16 * suspectTime, 16 * suspectTime} {
		patient.begin(start)
		patient.ask(start)
		if got := patient.wake.Sub(start); got != want {
			t.Errorf("after %d paths given up it waits %v, want %v", i, got, want)
		}
		if patient.judge(patient.wake) != pathSuspect {
			t.Error("no suspicion")
		}
	}
	patient.begin(start)
	patient.sending(start, true)
	patient.proved(at(8))
	if patient.doublings != maxDoublings {
		t.Error("slow proof makes impatient")
	}
	patient.proved(at(9))
	if patient.doublings != maxDoublings-1 {
		t.Error("quick proof does not")
	}
	server := detector{}
	server.begin(start)
	server.heard = at(14)
	if server.judge(at(33)) != pathFine || server.judge(at(34)) != pathAsk {
		t.Error("a server asks 20 s after it heard something")
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	if b.next(0) != 0 {
		t.Error("the first dial waits")
	}
	want := 50 * time.Millisecond
	for i := range 10 {
		if got := b.next(time.Second); got > want || got < want*4/5 {
			t.Errorf("pause %d is %v, want up to %v", i, got, want)
		}
		want = min(want*2, 2*time.Second)
	}
	if got := b.next(2 * time.Minute); got > longPause || got < longPause*4/5 {
		t.Errorf("later pauses are %v", got)
	}
	for range 100 {
		b.next(time.Hour)
	}
	if b.reset(); b.next(time.Hour) != 0 {
		t.Error("reset does nothing")
	}
}

func TestClock(t *testing.T) {
	start := time.Now()
	c := newClock(start)
	// Add moves both clocks; what Round leaves is the wall clock alone.
	if c.jumped(start.Add(clockPeriod)) {
		t.Error("an ordinary tick is a jump")
	}
	if !c.jumped(start.Add(time.Hour)) {
		t.Error("a late tick is none")
	}
	c = &clock{start.Round(0)}
	if !c.jumped(start.Round(0).Add(time.Hour)) {
		t.Error("an hour of the wall clock is none")
	}
}

func TestTombstonesAreBounded(t *testing.T) {
	var g tombstones
	ids := make([]*keys, maxDead+10)
	for i := range ids {
		ids[i] = &keys{id: [idLen]byte{byte(i), byte(i >> 8), 1}}
		g.add(ids[i], fmt.Errorf("reason %d", i))
	}
	if len(g.byID) != maxDead || len(g.order) != maxDead {
		t.Errorf("%d are remembered", len(g.byID))
	}
	if _, ok := g.find(ids[9].id); ok {
		t.Error("the oldest is still known")
	}
	for _, i := range []int{10, maxDead + 9} {
		if end, ok := g.find(ids[i].id); !ok || end.text != fmt.Sprintf("reason %d", i) {
			t.Errorf("%d is remembered as %+v", i, end)
		}
	}
}

func TestKeysDependOnEverything(t *testing.T) {
	own, _ := newEphemeral()
	peer, _ := newEphemeral()
	hello := &openHello{public: [keyLen]byte(own.PublicKey().Bytes())}
	answer := &opened{public: [keyLen]byte(peer.PublicKey().Bytes())}
	a, err := deriveKeys(own, answer.public, hello, answer)
	if err != nil {
		t.Fatal(err)
	}
	b, err := deriveKeys(peer, hello.public, hello, answer)
	if err != nil || *a != *b {
		t.Fatalf("the two ends differ: %v", err)
	}
	hello.nonce[0] ^= 1
	if c, _ := deriveKeys(own, answer.public, hello, answer); c.client == a.client || c.id == a.id {
		t.Error("the nonce does not count")
	}
	if a.client == a.server {
		t.Error("both directions have one key")
	}
	if _, err := deriveKeys(own, [keyLen]byte{}, hello, answer); err == nil {
		t.Error("a key of low order is accepted")
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("no such key")
	if !IsPermanent(Permanent(cause)) || !errors.Is(Permanent(cause), cause) || IsPermanent(cause) || Permanent(nil) != nil {
		t.Error("Permanent")
	}
	for code := CodeBusy; code <= CodeProof; code++ {
		err := error(&Refusal{code, "because"})
		var matches int
		for _, sentinel := range []error{ErrBusy, ErrUnknown, ErrExpired, ErrFinished, ErrReset, ErrFenced, ErrOffset, ErrProof} {
			if errors.Is(err, sentinel) {
				matches++
			}
		}
		if matches != 1 || IsPermanent(err) != (code != CodeBusy) {
			t.Errorf("%v matches %d errors, permanent: %v", err, matches, IsPermanent(err))
		}
	}
}

func TestWatcher(t *testing.T) {
	l := newLab(t)
	defer l.close()
	w := NewWatcher(slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	client, server := l.pair(func(c *Config) { c.Watcher = w })
	exchange(t, client, server, "hello")
	l.net.latest().stall(true)
	w.Nudge("test")
	exchange(t, client, server, "over a second path")
	client.Close()
	if len(w.conns) != 0 {
		t.Error("an ended stream is still watched")
	}
	cancel()
	<-done
	if a := usableAddresses(); a != usableAddresses() {
		t.Error("addresses differ from one look to the next")
	}
}

func TestMagic(t *testing.T) {
	if bytes.HasPrefix([]byte("SSH-2.0-"), []byte(Magic[:1])) || Magic[0] < 0x80 {
		t.Error("the first byte of the magic could be text")
	}
}

// TestACKBesideData checks that an ACK that is not due is sent beside little data, and not beside
// much, where it would be a write of its own.
func TestACKBesideData(t *testing.T) {
	for _, test := range []struct{ data, words int }{
		{1, headerLen + 16},
		{smallBatch - dataStart, headerLen + 16},
		{smallBatch, 0},
		{largeSlab, 0},
	} {
		w := newWire(NewBudget(1<<20), true)
		w.live.ready = true
		w.rx.received, w.rx.consumed = 1, 1
		for left := test.data; left > 0; {
			left -= w.tx.append(make([]byte, left))
		}
		words, data, _, _ := w.next(nil, time.Now())
		if len(words) != test.words || len(data) == 0 {
			t.Errorf("beside %d bytes there are %d, want %d", test.data, len(words), test.words)
		}
		if unsaid := w.rx.unsaid() > 0; unsaid != (test.words == 0) {
			t.Errorf("beside %d bytes what was consumed is left to be said: %v", test.data, unsaid)
		}
	}
}

// TestSmallACK checks that a client acknowledges an echo at once, but neither each of many nor a
// large one. A server waits, because its next echo would have to wait for the ACK.
func TestSmallACK(t *testing.T) {
	start := time.Unix(946684800, 0)
	for _, test := range []struct {
		name   string
		client bool
		taken  uint64
		after  time.Duration // since the start
		wait   time.Duration // until the ACK
	}{
		{"an echo", true, 60, 0, 0},
		{"another soon after", true, 60, 20 * time.Millisecond, ackDelay},
		{"another later", true, 60, 200 * time.Millisecond, 0},
		{"just little enough", true, smallAck, 400 * time.Millisecond, 0},
		{"more", true, smallAck + 1, 600 * time.Millisecond, ackDelay},
		{"an echo at the server", false, 60, 0, serverAckDelay},
		{"just little enough at the server", false, patientAck, 0, serverAckDelay},
		{"more at the server", false, patientAck + 1, 0, ackDelay},
	} {
		w := newWire(NewBudget(1<<20), test.client)
		w.live.ready = true
		if test.after > 0 { // with an ACK at the start
			w.rx.received, w.rx.consumed = 1, 1
			w.consumed(start)
			w.next(nil, start)
		}
		now := start.Add(test.after)
		w.rx.received += test.taken
		w.rx.consumed += test.taken
		do := w.consumed(now)
		words, _, _, _ := w.next(nil, now)
		if at := test.wait == 0; at != do.has(canSend) || at != (len(words) > 0) {
			t.Errorf("%s: sent at once: %v, %d bytes", test.name, do.has(canSend), len(words))
		}
		if test.wait > 0 && !w.deadline().Equal(now.Add(test.wait)) {
			t.Errorf("%s: due %v later", test.name, w.deadline().Sub(now))
		}
	}
}

// TestFinIsAcknowledgedWithTheAnswer checks when the FIN of the other end is acknowledged: a server
// that has not closed its own direction leaves that to its FIN, because an ACK alone would hold up
// the FIN. An end that will send no more, or whose stream ends, acknowledges at once.
func TestFinIsAcknowledgedWithTheAnswer(t *testing.T) {
	now := time.Unix(946684800, 0)
	for _, test := range []struct {
		name           string
		client, closed bool
		acked          bool // the own FIN has been acknowledged
		atOnce         bool
	}{
		{name: "a server"},
		{name: "a server that has closed its direction", closed: true, atOnce: true},
		{name: "a server whose stream ends", closed: true, acked: true, atOnce: true},
		{name: "a client", client: true, atOnce: true},
		{name: "a client whose stream ends", client: true, closed: true, acked: true, atOnce: true},
	} {
		w := newWire(NewBudget(1<<20), test.client)
		w.live.ready = true
		w.rx.received, w.rx.consumed = 60, 60
		if test.closed {
			w.finish(now)
			_, _, from, _ := w.next(nil, now)
			w.tx.release(from)
		}
		if test.acked {
			if err := w.tx.ack(w.tx.end); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.fin(frame{typ: frameFin, payload: binary.BigEndian.AppendUint64(nil, 60)}, now); err != nil {
			t.Fatal(err)
		}
		words, _, _, _ := w.next(nil, now)
		if (len(words) > 0) != test.atOnce {
			t.Errorf("%s has sent %x at once", test.name, words)
		}
		if test.closed {
			continue
		}
		w.finish(now)
		words, data, _, _ := w.next(nil, now)
		if (len(words) > 0) == test.atOnce || len(data) == 0 {
			t.Errorf("%s has sent %x with its own FIN %x", test.name, words, data)
		}
	}
}

// TestServerBeginsWithoutAnACK checks that a server sends nothing before its first data, because a
// frame alone would delay the data behind it, and that a later path begins with an ACK.
func TestServerBeginsWithoutAnACK(t *testing.T) {
	now := time.Unix(946684800, 0)
	w := newWire(NewBudget(1<<20), false)
	do := w.open(now)
	if words, _, _, _ := w.next(nil, now); len(words) > 0 || do.has(canSend) {
		t.Errorf("the first path begins with %x", words)
	}
	w.rx.received, w.rx.consumed = 60, 60
	w.attach(0, smallWindow)
	w.begin(now)
	if words, _, _, _ := w.next(nil, now); len(words) == 0 {
		t.Error("a later path begins without an ACK")
	}
}

// firstWrite records the first write to a connection, and its time.
type firstWrite struct {
	net.Conn
	once sync.Once
	b    []byte
	at   time.Time
}

func (f *firstWrite) Write(b []byte) (int, error) {
	f.once.Do(func() { f.b, f.at = bytes.Clone(b), time.Now() })
	return f.Conn.Write(b)
}

// TestOpenIsAnsweredWithData checks that the answer to an open and the server's first data are one
// write, and that an answer without data waits no longer than answerWait.
func TestOpenIsAnsweredWithData(t *testing.T) {
	for name, says := range map[string]string{"a server that speaks": "SSH-2.0-guest\r\n", "a silent server": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				defer l.close()
				var first *firstWrite
				l.net.accept = func(conn net.Conn) {
					first = &firstWrite{Conn: conn}
					l.serve(first)
				}
				begin := time.Now()
				client, server := l.pair()
				if says != "" {
					pass(t, server, client, says)
				}
				time.Sleep(2 * answerWait)
				client.Close()
				server.Close()
				<-client.Done()
				answer := len((&opened{}).encode())
				if got := len(first.b); says == "" && got != answer || says != "" && got < answer+dataStart+len(says) {
					t.Errorf("the first write has %d bytes, the answer alone %d", got, answer)
				}
				if waited := first.at.Sub(begin); waited > answerWait {
					t.Errorf("it was written after %v", waited)
				}
			})
		})
	}
}
