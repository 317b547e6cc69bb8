package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"os"
	"slices"

	"keyway/internal/jupyter/wire"
)

// mergeText is the approximate bound on the bytes of text in one message of a snapshot.
const mergeText = 128 << 10

// Snapshot is the state of an execution at one moment. It does not change while the execution
// continues.
type Snapshot struct {
	Reply  *wire.Message // the execute_reply, and
	Idle   *wire.Message // the status that ends the execution, if Messages has reached them
	Prompt *wire.Message // an unanswered input_request

	kernel string
	parent []byte
	lost   int64
	files  []*os.File
	sizes  []int64
	owed   []byte // records that are not yet in the last file
	lent   lender
}

// Snapshot opens the execution's files in their present state. The caller closes it.
func (e *Execution) Snapshot() (*Snapshot, error) {
	s := &Snapshot{kernel: e.kernel, parent: e.header, lost: e.lost, owed: slices.Clone(e.queue)}
	for i, seg := range e.segments {
		if i == len(e.segments)-1 {
			seg.size -= int64(len(e.queue))
		}
		f, err := os.Open(e.path(seg.index))
		if errors.Is(err, os.ErrNotExist) && seg.size == 0 {
			continue // a segment without a file: nothing was written to it yet
		}
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.files, s.sizes = append(s.files, f), append(s.sizes, seg.size)
	}
	return s, nil
}

// Close closes the files.
func (s *Snapshot) Close() error {
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	s.files = nil
	return errors.Join(errs...)
}

// Messages returns the outputs of the execution, in order: execute_input, outputs, and text in
// few pieces. A message is valid until the next one. After an error, it returns no more.
func (s *Snapshot) Messages() iter.Seq2[wire.Message, error] { return s.messages(0) }

// InPlace is Messages, but leaves the content of long messages in the files
// (wire.Message.Long), which must stay open.
func (s *Snapshot) InPlace() iter.Seq2[wire.Message, error] { return s.messages(longOutput) }

// longOutput is the size, in bytes, above which a message stays on disk while clients get it.
const longOutput = 1 << 20

func (s *Snapshot) messages(long uint64) iter.Seq2[wire.Message, error] {
	s.lent.long = long
	return func(yield func(wire.Message, error) bool) {
		p := player{s: s, yield: yield}
		for i := range len(s.files) + 1 {
			_, err := s.lent.readAll(s.part(i), p.play)
			if errors.Is(err, errStop) {
				return
			}
			if err != nil {
				yield(wire.Message{}, err)
				return
			}
		}
		if s.lost > 0 && p.say("stderr", gapText(s.lost)) != nil {
			return
		}
		_ = p.flush() // no message follows it
	}
}

// part returns file i or, after the files, the records that are not in a file yet.
func (s *Snapshot) part(i int) sized {
	if i == len(s.files) {
		return bytes.NewReader(s.owed)
	}
	return io.NewSectionReader(s.files[i], 0, s.sizes[i])
}

// errStop means that the caller wants no further messages.
var errStop = errors.New("stop")

type player struct {
	s     *Snapshot
	yield func(wire.Message, error) bool
	name  string
	text  []byte
}

func (p *player) play(r record) error {
	switch r.kind {
	case stream:
		name, text := r.text()
		return p.say(name, text)
	case restarted:
		return p.say("stderr", restartText)
	case ended:
		return p.say("stderr", string(r.data))
	case gap:
		return p.say("stderr", gapText(r.gap()))
	case input, output:
		m, err := p.message(r)
		if err != nil {
			return err
		}
		if err := p.flush(); err != nil {
			return err
		}
		return p.give(m)
	case answered:
		p.s.Prompt = nil
	case repeated:
		p.s.Reply, p.s.Idle, p.s.Prompt = nil, nil, nil
	case reply, idle, prompt:
		m, err := record{r.kind, bytes.Clone(r.data)}.message() // a copy, because this message is kept
		if err != nil {
			return err
		}
		switch r.kind {
		case reply:
			p.s.Reply = &m
		case idle:
			p.s.Idle, p.s.Prompt = &m, nil
		default:
			p.s.Prompt = &m
		}
	}
	return nil
}

// message returns the message of a record. Its content may stay in the file.
func (p *player) message(r record) (wire.Message, error) {
	place := p.s.lent.place
	if place == nil {
		return r.message()
	}
	m, ok := wire.InPlace(place)
	if ok {
		return m, nil
	}
	data := make([]byte, place.Size())
	if _, err := place.ReadAt(data, 0); err != nil {
		return m, err
	}
	return record{r.kind, data}.message()
}

func (p *player) say(name, text string) error {
	if name != p.name || len(p.text)+len(text) > mergeText {
		if err := p.flush(); err != nil {
			return err
		}
	}
	p.name, p.text = name, append(p.text, text...)
	return nil
}

func (p *player) flush() error {
	if len(p.text) == 0 {
		return nil
	}
	m := wire.New(p.s.kernel, p.s.parent, "iopub", "stream", wire.Text{Name: p.name, Text: string(p.text)})
	p.text = p.text[:0]
	return p.give(m)
}

func (p *player) give(m wire.Message) error {
	if !p.yield(m, nil) {
		return errStop
	}
	return nil
}

// Source returns the source that was run.
func (e *Execution) Source() (string, error) {
	m, err := e.Request()
	if err != nil {
		return "", err
	}
	var c struct {
		Code string `json:"code"`
	}
	err = json.Unmarshal(m.Content, &c)
	return c.Code, err
}

// Request returns the message that requested the execution.
func (e *Execution) Request() (m wire.Message, err error) {
	if len(e.segments) == 0 {
		return m, os.ErrNotExist
	}
	found := errors.New("found")
	look := func(r record) (err error) {
		if r.kind != request {
			return nil
		}
		if m, err = r.message(); err != nil {
			return err
		}
		return found
	}
	_, err = readFile(e.path(e.segments[0].index), look)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		_, err = readAll(bytes.NewReader(e.queue), look)
	}
	switch {
	case errors.Is(err, found):
		return m, nil
	case err == nil:
		err = os.ErrNotExist
	}
	return m, err
}
