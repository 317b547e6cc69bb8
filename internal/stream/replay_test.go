package stream

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestVersion1 replays the recorded events of two ends of version 1. It checks that the present
// code writes the same bytes: frames, hellos and saved states.
func TestVersion1(t *testing.T) {
	r := newRecording()
	n := 0
	eachLine(t, func(at int, words []string) error {
		if words[0] == "state" || words[0] == "#" {
			return nil
		}
		n++
		return r.line(words)
	})
	for _, end := range []string{"client", "server"} {
		if err := r.ends[end].w.err; err != errFinished {
			t.Errorf("the %s has ended by %v", end, err)
		}
	}
	if n < 700 {
		t.Errorf("only %d lines were replayed", n)
	}
}

// TestSavedByVersion1 checks that a state that version 1 has saved can be restored and saved again.
func TestSavedByVersion1(t *testing.T) {
	n := 0
	eachLine(t, func(at int, words []string) error {
		if words[0] != "state" {
			return nil
		}
		n++
		state, err := hex.DecodeString(words[1])
		if err != nil {
			return err
		}
		s, err := decodeSaved(state)
		if err != nil {
			return err
		}
		w := newWire(NewBudget(0), true)
		w.restore(s, time.Unix(1, 0))
		if got := make([]byte, 30); w.rx.read(got) != 30 || !bytes.Equal(got, recorded(30, 20)) {
			t.Errorf("line %d: what was unread has changed", at)
		}
		if got := w.tx.contents(); !bytes.Equal(got, recorded(37, 10)) {
			t.Errorf("line %d: what was unacknowledged has changed", at)
		}
		w = newWire(NewBudget(0), true)
		w.restore(s, time.Unix(1, 0))
		again, _ := w.save()
		return differ(words[1], hex.EncodeToString(again.encode()), nil)
	})
	if n != 2 {
		t.Errorf("%d states were restored", n)
	}
}

// eachLine calls f with the words of each line of the recording.
func eachLine(t *testing.T, f func(at int, words []string) error) {
	t.Helper()
	file, err := os.Open("testdata/version1.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for at := 1; lines.Scan(); at++ {
		if err := f(at, strings.Fields(lines.Text())); err != nil {
			t.Fatalf("line %d, %.60s: %v", at, lines.Text(), err)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// recording is two ends without a connection between them.
type recording struct {
	now    time.Time
	keys   keys
	ends   map[string]*replayed
	hello  *resumeHello
	answer *resumed
	early  early
}

// replayed is one end, with the bytes that it has sent and the other has not received.
type replayed struct {
	w            wire
	queue        []byte
	wrote, taken int
	due          time.Time
	sent         *slab
}

func newRecording() *recording {
	r := &recording{now: time.Unix(946684800, 0), ends: map[string]*replayed{}}
	for i := range r.keys.id {
		r.keys.id[i] = byte(i)
	}
	for i := range r.keys.client {
		r.keys.client[i], r.keys.server[i] = byte(0x40+i), byte(0x80+i)
	}
	r.end("client").w.say.confirm = true
	r.end("server")
	return r
}

// end returns the end of that name, a new one if there is none.
func (r *recording) end(name string) *replayed {
	if r.ends[name] == nil {
		e := &replayed{w: newWire(NewBudget(8<<20), name != "server")}
		e.w.keys = &r.keys
		// Both ends of the first version acknowledged as late as each other, and began with an ACK.
		e.w.prompt, e.w.ackAfter = false, ackDelay
		e.w.attach(0, smallWindow)
		e.w.begin(r.now)
		r.ends[name] = e
	}
	return r.ends[name]
}

// line executes one line of the recording, and compares the effects with the rest of the line.
func (r *recording) line(words []string) error {
	defer func() {
		for _, e := range r.ends { // as an alarm does
			if at := e.w.deadline(); !at.IsZero() && (e.due.IsZero() || at.Before(e.due)) {
				e.due = at
			}
		}
	}()
	e, args := r.end(words[0]), words[2:]
	n, _ := strconv.Atoi(append(args, "")[0])
	switch words[1] {
	case "wait":
		return r.wait(time.Duration(n) * time.Millisecond)
	case "writes":
		k, _, err := e.w.write(recorded(n, e.wrote), r.now)
		e.wrote += k
		return differ(args[1], strconv.Itoa(k), err)
	case "types":
		e.w.write([]byte(args[0]), r.now)
	case "reads":
		return e.read(n, args, r.now)
	case "sends":
		return e.send(args, r)
	case "receives":
		return e.receive(r.ends[map[string]string{"client": "server", "server": "client"}[words[0]]], n, r.now)
	case "probes":
		e.w.probe(r.now)
	case "closes-write":
		e.w.finish(r.now)
	case "closes":
		e.w.close(r.now)
	case "aborts":
		e.w.abort(errors.New(strings.Join(args, " ")), resetByUser)
	default:
		return r.resume(words[1], args)
	}
	return nil
}

// differ reports a difference from the recording.
func differ(want, got string, err error) error {
	if err == nil && got != want {
		err = fmt.Errorf("got %s", got)
	}
	return err
}

// recorded returns the bytes that the users of the recording wrote.
func recorded(n, at int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte((at+i)*7) ^ byte((at+i)>>8)
	}
	return b
}

// wait advances the clock, and runs due alarms.
func (r *recording) wait(d time.Duration) error {
	end := r.now.Add(d)
	for {
		var next *replayed
		for _, e := range r.ends {
			if !e.due.IsZero() && !e.due.After(end) && (next == nil || e.due.Before(next.due)) {
				next = e
			}
		}
		if next == nil {
			r.now = end
			return nil
		}
		r.now, next.due = next.due, time.Time{}
		next.w.tick(r.now)
		next.due = next.w.deadline()
	}
}

func (e *replayed) read(n int, want []string, now time.Time) error {
	b := make([]byte, n)
	k, _, err := e.w.read(b, now)
	if !bytes.Equal(b[:k], recorded(k, e.taken)) {
		return errors.New("not what was written")
	}
	e.taken += k
	word := "more"
	if err == io.EOF {
		word, err = "EOF", nil
	}
	return differ(want[1]+want[2], strconv.Itoa(k)+word, err)
}

// send compares the output of an end with the recorded output. early are bytes that the server's
// answer already contains.
func (e *replayed) send(want []string, r *recording) error {
	said := r.early.frames
	if r.answer == nil || e != r.ends["server"] || r.hello == nil {
		words, data, from, _ := e.w.next(nil, r.now)
		e.w.tx.release(e.sent)
		said, e.sent = append(words, data...), from
	}
	e.queue = append(e.queue, said...)
	return differ(strings.Join(want, " "), brief(said), nil)
}

// brief returns bytes in the recording's short form.
func brief(b []byte) string {
	if len(b) <= 120 {
		return strings.TrimSpace(fmt.Sprintf("%d %x", len(b), b))
	}
	return fmt.Sprintf("%d sha256:%x", len(b), sha256.Sum256(b))
}

func (e *replayed) receive(from *replayed, want int, now time.Time) error {
	n := 0
	for ; ; n++ {
		in := newChunk(len(from.queue) > smallChunk)
		f, need, err := parseFrame(in.buf[:copy(in.buf, from.queue)])
		if err != nil || f.typ == 0 {
			return differ(strconv.Itoa(want), strconv.Itoa(n), err)
		}
		if _, err := e.w.frame(f, in, now); err != nil {
			return err
		}
		in.drop()
		from.queue = from.queue[need:]
	}
}

// resume does one step of moving to a new path or process.
func (r *recording) resume(verb string, args []string) error {
	c, s := r.ends["client"], r.ends["server"]
	switch verb {
	case "moves":
		saved, _ := c.w.save()
		state := saved.encode()
		if err := differ(strings.Join(args, " "), brief(state), nil); err != nil {
			return err
		}
		saved, err := decodeSaved(state)
		if err != nil {
			return err
		}
		c.w = newWire(NewBudget(8<<20), true)
		c.w.prompt = false
		c.w.restore(saved, r.now)
		c.due, c.sent = time.Time{}, nil
	case "resumes":
		c.w.detach()
		s.w.detach()
		r.hello = c.w.hello([nonceLen]byte{1, byte(c.w.epoch + 1)})
		c.queue, s.queue = nil, nil
		return differ(args[0], hex.EncodeToString(r.hello.encode()), nil)
	case "answers":
		if code, text := s.w.judge(r.hello); code != 0 {
			return &Refusal{code, text}
		}
		r.answer, r.early = s.w.answer(r.hello, [nonceLen]byte{2, byte(c.w.epoch)})
		return differ(args[0], hex.EncodeToString(r.answer.encode()), nil)
	case "commits":
		m, err := c.w.commit(r.hello, r.answer)
		if err != nil {
			return err
		}
		c.w.committed(r.answer, r.now)
		_, err = s.w.move(r.hello, r.answer, m, r.early, r.now)
		r.hello, r.answer = nil, nil
		return differ(args[0], hex.EncodeToString(m.encode()), err)
	default:
		return fmt.Errorf("unknown verb %q", verb)
	}
	return nil
}
