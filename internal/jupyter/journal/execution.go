package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"keyway/internal/jupyter/wire"
)

// Execution is one execute_request and all messages that result from it.
type Execution struct {
	ID      string            // of the request
	Session string            // of the client that sent the request
	Cell    string            // the notebook's id of the cell; empty in the classic notebook and VS Code
	Code    [sha256.Size]byte // the hash of the source that was run
	Alike   int               // number of cells with this source before this one; -1: unknown
	Count   int               // number of the prompt; 0 while the request waits in the kernel's queue
	Began   time.Time

	State
	Mark Mark // of the last write

	Said int // grows with each output; 0 at Open

	From, To time.Time // begin and end by the kernel's clock; zero if the kernel has not sent them

	j      *Journal
	number int
	kernel string // the kernel's session
	header []byte // of the request, the parent of its messages
	// displays lists the display_ids of its outputs.
	displays []string
	onDisk
}

// State is the progress of an execution.
type State struct {
	Running bool // the kernel has begun it
	Replied bool // there is an execute_reply
	Idle    bool // the kernel has ended it
	Ended   bool // the kernel was restarted or has died meanwhile
	Written bool // the notebook's file has the outputs
	Asking  bool // input() waits for an answer
	Failed  bool // the execute_reply reports an error
	Tried   bool // the request may have been sent
	Sent    bool // the request was sent completely
	Told    bool // a user knows of the end
	Cut     bool // the connection was replaced during the execution
}

// onDisk is the part of an execution that is in files, and the records that wait to be written.
type onDisk struct {
	segments []segment
	file     *os.File          // the last segment, open to append
	lost     int64             // bytes that could not be written, and that no gap record counts yet
	queue    []byte            // records that wait to be written to the last segment
	open     bool              // large records are written, and their commit is not
	over     bool              // the end is in the queue: the files can be closed after the next write
	place    *io.SectionReader // of the long output that was queued last
	loose    bool              // compaction may shorten the files: they contain text or changes of other outputs
}

type segment struct {
	index int
	size  int64
}

// Finished reports whether the execution has ended: no further messages follow.
func (e *Execution) Finished() bool { return e.Idle || e.Ended }

// Header returns the header of the request, which is the parent header of the resulting messages.
func (e *Execution) Header() []byte { return e.header }

// Kernel returns the session that the kernel's messages carry.
func (e *Execution) Kernel() string { return e.kernel }

// Sum returns the hash of a source, as in Code.
func Sum(source string) [sha256.Size]byte { return sha256.Sum256([]byte(source)) }

func (e *Execution) path(segment int) string {
	return filepath.Join(e.j.dir, fmt.Sprintf("%08d.%06d", e.number, segment))
}

// Begin adds an execution. It returns nil if the request shows nothing: it is silent, or no
// execute_request.
func (j *Journal) Begin(m wire.Message) (*Execution, error) {
	e := &Execution{j: j, number: j.next}
	if !e.take(record{request, nil}, m) {
		return nil, nil
	}
	if old := j.byID[e.ID]; old != nil { // sent twice: the kernel runs it twice, and both runs belong to one execution
		if !old.Finished() {
			return old, nil
		}
		old.take(record{repeated, nil}, wire.Message{})
		return old, old.addNow(record{repeated, nil})
	}
	j.next++
	j.execs, j.byID[e.ID] = append(j.execs, e), e
	err := e.addNow(messageRecord(request, m))
	return e, errors.Join(err, j.trim())
}

// Append adds a message of the kernel that answers the execution's request, if the message is
// needed later. After an error, the message is not on disk, and the output will contain a notice.
func (e *Execution) Append(m wire.Message) error {
	e.Queue(m)
	return e.j.flush()
}

// Queue adds a message as Append does, but does not write it: the next Flush writes all queued
// messages together. A long output is written at once. Queue returns the message or, in its place, one
// whose content is in the file.
func (e *Execution) Queue(m wire.Message) wire.Message {
	switch {
	case m.Channel == "shell" && m.Head.Type == "execute_reply":
		e.mark(reply, m)
	case m.Channel == "stdin" && m.Head.Type == "input_request":
		e.mark(prompt, m)
	case m.Head.Type == "execute_input" && m.Channel == "iopub":
		e.mark(input, m)
	case m.State() == "idle":
		e.over = true
		e.mark(idle, m)
	case showing(m):
		e.queueOutput(m)
	}
	if place := e.place; place != nil {
		e.place = nil
		if short, ok := wire.InPlace(place); ok {
			return short
		}
	}
	return m
}

func (e *Execution) queueOutput(m wire.Message) {
	e.Said++
	e.Running = true // the execute_input may be lost
	if m.Head.Type == "stream" || m.Head.Type == "clear_output" || m.Head.Type == "update_display_data" {
		e.loose = true
	}
	if e.kernel == "" || len(m.Buffers) > 0 || !m.Texts(func(t wire.Text) { e.add(textRecord(t.Name, t.Text)) }) {
		e.mark(output, m)
		e.noteDisplay(m)
	}
	if e.Written { // a thread or a task continues after the cell's end
		e.take(record{overwritten, nil}, wire.Message{})
		e.add(record{overwritten, nil})
	}
}

// maxDisplays bounds the displays that are remembered of an execution, so that other executions can
// update them.
const maxDisplays = 1000

func (e *Execution) noteDisplay(m wire.Message) {
	id := displayID(m)
	if id != "" && m.Head.Type != "update_display_data" && len(e.displays) < maxDisplays && !slices.Contains(e.displays, id) {
		e.displays = append(e.displays, id)
	}
}

// QueueUpdate queues a message of another execution that updates a display of this one.
func (e *Execution) QueueUpdate(m wire.Message) {
	e.queueOutput(wire.New(e.kernel, e.header, "iopub", "update_display_data", json.RawMessage(m.Content)))
	e.place = nil
}

func (e *Execution) mark(k kind, m wire.Message) {
	e.take(record{k, nil}, m)
	e.add(messageRecord(k, m))
}

// Answered records that a client has answered the prompt.
func (e *Execution) Answered() error { e.Asking = false; return e.addNow(record{answered, nil}) }

// End records that the kernel was restarted or has died. The output ends with the notice, unless
// that is empty.
func (e *Execution) End(notice string) error {
	if !e.Idle {
		e.To = time.Now()
	}
	e.Ended, e.over = true, true
	return e.addNow(record{ended, []byte(notice)})
}

// Trying records that the request may have been sent. It must be called before the first byte is
// sent.
func (e *Execution) Trying() error { e.Tried = true; return e.addNow(record{tried, nil}) }

// WasSent records that the request was sent completely.
func (e *Execution) WasSent() error { e.Sent = true; return e.addNow(record{sent, nil}) }

// WasTold records that a user knows of the end.
func (e *Execution) WasTold() error { e.Told = true; return e.addNow(record{told, nil}) }

// Took returns the kernel's time for the execution; 0 if it is not known.
func (e *Execution) Took() time.Duration {
	if e.From.IsZero() || e.To.IsZero() {
		return 0
	}
	return max(e.To.Sub(e.From), 0)
}

// Restarted records that the connection was replaced during the execution.
func (e *Execution) Restarted() error { e.Cut = true; return e.addNow(record{restarted, nil}) }

// WasWritten records whether the notebook's file has the outputs.
func (e *Execution) WasWritten(yes bool) error {
	k := written
	if !yes {
		k = overwritten
	}
	e.take(record{k, nil}, wire.Message{})
	return e.addNow(record{k, nil})
}

func (e *Execution) addNow(r record) error { e.add(r); return e.j.flush() }

// tend compacts the last segment if it has grown, or if the execution has ended.
func (e *Execution) tend() (err error) {
	switch {
	case len(e.segments) == 0: // the execution was removed in the meantime
	case e.over:
		e.over = false
		err = e.compactLast(false)
		e.close()
	case e.last().size > e.j.limits.Segment:
		err = e.compactLast(true)
	}
	return err
}

func (e *Execution) close() {
	if e.file != nil {
		_ = e.file.Close() // everything was handed to the operating system before
		e.file = nil
	}
}

// take updates the fields that are kept in memory. It reports whether the message is to be
// recorded.
func (e *Execution) take(r record, m wire.Message) bool {
	if r.kind != request && e.kernel == "" {
		e.kernel = m.Head.Session
	}
	switch r.kind {
	case request:
		return e.takeRequest(m)
	case input:
		var c struct {
			Count int `json:"execution_count"`
		}
		_ = json.Unmarshal(m.Content, &c) // without a number, Count stays 0
		e.Count, e.Running, e.From = c.Count, true, m.Date()
	case reply:
		var c struct {
			Status string `json:"status"`
		}
		_ = json.Unmarshal(m.Content, &c)
		e.Replied, e.Failed = true, c.Status == "error"
	case idle:
		e.Idle, e.Asking, e.To = true, false, m.Date()
	case prompt:
		e.Asking = true
	case answered:
		e.Asking = false
	case ended:
		e.Ended, e.Asking = true, false
	case restarted:
		e.Cut = true
	case written, overwritten:
		e.Written = r.kind == written
	case tried:
		e.Tried = true
	case sent:
		e.Sent = true
	case told:
		e.Told = true
	case repeated:
		e.State, e.From, e.To = State{Written: e.Written}, time.Time{}, time.Time{}
	case commit:
		e.Mark = r.mark()
	}
	return true
}

// isCellID reports whether nbformat allows an id of a cell. VS Code sends the address of a cell in its
// window instead (vscode-notebook-cell:/x.ipynb#W0…). No notebook contains that address, and
// another window gives it to another cell. Such a cell is found by its source.
func isCellID(id string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	return id != "" && len(id) <= 64 && strings.Trim(id, letters) == ""
}

func (e *Execution) takeRequest(m wire.Message) bool {
	var c struct {
		Code    string `json:"code"`
		Silent  bool   `json:"silent"`
		History *bool  `json:"store_history"`
	}
	if m.Channel != "shell" || m.Head.Type != "execute_request" || json.Unmarshal(m.Content, &c) != nil ||
		c.Silent || c.History != nil && !*c.History {
		return false
	}
	var meta struct {
		Cell   string `json:"cellId"`
		Keyway struct {
			Alike *int `json:"alike"`
		} `json:"keyway"`
	}
	if json.Unmarshal(m.Metadata, &meta) != nil || !isCellID(meta.Cell) {
		meta.Cell = ""
	}
	e.Alike = -1
	if n := meta.Keyway.Alike; n != nil && *n >= 0 {
		e.Alike = *n
	}
	e.ID, e.Session, e.Cell, e.Code, e.header = m.Head.ID, m.Head.Session, meta.Cell, Sum(c.Code), slices.Clone(m.Header)
	e.Began = time.Now()
	return true
}

// add queues a record for the last segment.
func (e *Execution) add(r record) {
	if len(e.segments) == 0 {
		e.segments = append(e.segments, segment{})
	}
	if len(e.queue) == 0 && !e.open {
		e.j.queued = append(e.j.queued, e)
	}
	e.putLost()
	e.put(r)
}

// putLost queues a gap record if output is lost.
func (e *Execution) putLost() {
	if e.lost > 0 {
		e.put(gapRecord(e.lost))
		e.lost = 0
	}
}

// put queues a record. A large one is written at once, so that it is not copied.
func (e *Execution) put(r record) {
	if len(r.data) > maxKeptQueue && e.writeThrough(r) {
		return
	}
	before := len(e.queue)
	e.queue = r.append(e.queue)
	e.grow(len(e.queue) - before)
}

// writeThrough writes the queue and a large record. The next flush writes their commit. It reports
// whether the write has succeeded.
func (e *Execution) writeThrough(r record) bool {
	if time.Since(e.j.failed) < retryTime {
		return false
	}
	parts, at := r.parts(), e.last().size
	if e.write(at-int64(len(e.queue)), append([][]byte{e.queue}, parts...)...) != nil {
		return false // the next flush returns the error
	}
	if r.kind == output && len(r.data) > longOutput {
		e.place = nil
		if f, err := os.Open(e.path(e.last().index)); err == nil { // it is closed when no client needs it any more
			e.place = io.NewSectionReader(f, at+int64(len(parts[0])), int64(len(r.data)))
		}
	}
	e.queue, e.open = e.queue[:0], true
	for _, part := range parts {
		e.grow(len(part))
	}
	return true
}

// grow adds n bytes to the size of the last segment, of which some may be in the queue.
func (e *Execution) grow(n int) {
	e.last().size += int64(n)
	e.j.total += int64(n)
}

func (e *Execution) last() *segment { return &e.segments[len(e.segments)-1] }

// flush hands the queue to the operating system. After an error, the queue stays.
func (e *Execution) flush() error {
	if len(e.segments) > 0 {
		e.putLost()
	}
	if len(e.queue) == 0 && !e.open {
		return nil
	}
	queued := len(e.queue)
	data := e.Mark.record().append(e.queue)
	if err := e.write(e.last().size-int64(queued), data); err != nil {
		return err
	}
	e.open = false
	e.grow(len(data) - queued)
	if e.queue = data[:0]; cap(data) > maxKeptQueue {
		e.queue = nil
	}
	return nil
}

// maxKeptQueue is the largest queue, in bytes, whose memory is kept for the next use.
const maxKeptQueue = 64 << 10

// write appends parts to the last segment, whose file has size bytes. It writes all of them or
// none.
func (e *Execution) write(size int64, parts ...[]byte) error {
	if e.file == nil {
		f, err := os.OpenFile(e.path(e.last().index), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		e.file = f
	}
	var err error
	written := 0
	for _, part := range parts {
		n := 0
		if n, err = e.file.Write(part); err != nil && written+n > 0 {
			err = errors.Join(err, e.file.Truncate(size)) // an incomplete record would hide those after it
		}
		if written += n; err != nil {
			break
		}
	}
	if e.Finished() {
		e.close()
	}
	return err
}

// compactLast compacts the last segment. If the segment stays large and more records follow, it
// begins another.
func (e *Execution) compactLast(more bool) error {
	if len(e.segments) == 0 {
		return nil
	}
	if err := e.flush(); err != nil {
		return err
	}
	cleared, err := false, error(nil)
	if e.loose { // the segment has one large output: it need not be read again
		cleared, err = e.compactSegment(len(e.segments) - 1)
	}
	if err != nil {
		return err
	}
	e.close()
	if cleared {
		err = e.clearBefore()
	}
	if more && e.last().size > e.j.limits.Segment/2 {
		e.segments = append(e.segments, segment{index: e.last().index + 1})
	}
	return errors.Join(err, e.j.trim())
}

// load reads a segment of an execution that an earlier program has written.
func (e *Execution) load(index int) error {
	e.loose = true // not known: assume so
	path := e.path(index)
	size, err := readFile(path, func(r record) error {
		switch r.kind {
		case stream, gap:
			e.Running = true
			return nil
		case output:
			e.Running = true
			if bytes.Contains(r.data, displayKey) {
				if m, err := r.message(); err == nil {
					e.noteDisplay(m)
				}
			}
			return nil
		case anew:
			e.displays = nil
			return nil
		case answered, ended, restarted, written, overwritten, tried, sent, told, repeated, commit:
			e.take(r, wire.Message{})
			return nil
		}
		m, err := r.message()
		if err == nil {
			e.take(r, m)
		}
		return nil // of a later version
	})
	if errors.Is(err, errTorn) {
		err = os.Truncate(path, size)
	}
	if err != nil {
		return err
	}
	if info, err := os.Stat(path); err == nil && index == 0 {
		e.Began = info.ModTime()
	}
	e.segments = append(e.segments, segment{index, size})
	e.j.total += size
	return nil
}

// Size returns the size of the execution's files in bytes.
func (e *Execution) Size() (n int64) {
	for _, s := range e.segments {
		n += s.size
	}
	return n
}
