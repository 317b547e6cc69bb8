// Package notebook converts a kernel's messages into the outputs of a notebook's cells, and inserts
// them into a notebook as nbformat 4 describes it. It does no input or output of its own. It holds
// neither the notebook nor the messages in memory, because both may be large.
package notebook

import (
	"bytes"
	"encoding/json"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"keyway/internal/jupyter/wire"
)

// WriteOutputs writes the visible outputs of an execution's messages, as the value of a cell's
// outputs. Each output is valid for nbformat, whatever the kernel has sent. It iterates over the
// messages twice, and returns their first error.
func WriteOutputs(w io.Writer, messages iter.Seq2[wire.Message, error]) error {
	plan, err := survey(messages)
	if err != nil {
		return err
	}
	p := printer{w: w, plan: plan}
	p.print("[")
	at := -1
	for m, err := range messages {
		if err != nil {
			return err
		}
		if at++; at >= plan.from && m.Channel == "iopub" {
			p.add(at, m)
		}
		if p.err != nil {
			return p.err
		}
	}
	p.endText()
	p.print("]")
	return p.err
}

// plan has the facts about all messages that are needed before the first output is written.
type plan struct {
	from    int               // index of the first message that is not cleared
	updates map[string]update // by display_id: the last update
}

type update struct {
	at int
	content
}

func survey(messages iter.Seq2[wire.Message, error]) (plan, error) {
	p := plan{updates: map[string]update{}}
	at, clear := -1, false // clear: the next output clears those before
	shown := map[string]bool{}
	for m, err := range messages {
		if err != nil {
			return p, err
		}
		at++
		if m.Channel != "iopub" {
			continue
		}
		switch kind := m.Head.Type; kind {
		case "stream", "display_data", "execute_result", "error":
			if clear {
				p.from, clear = at, false
			}
			p.update(at, m, shown)
		case "clear_output":
			if clear = string(split(m.Content)["wait"]) == "true"; !clear {
				p.from = at + 1
			}
		case "update_display_data":
			p.update(at, m, shown)
		}
	}
	return p, nil
}

// update records the displays that a message changes. shown are the display_ids of the outputs so
// far.
func (p *plan) update(at int, m wire.Message, shown map[string]bool) {
	if m.Head.Type == "stream" || !bytes.Contains(m.Content, []byte(`"display_id"`)) {
		return
	}
	id := read(m).display()
	switch {
	case id == "":
	case shown[id]:
		m.Content = bytes.Clone(m.Content) // a copy: the message is only valid until the next one
		p.updates[id] = update{at, read(m)}
	default:
		shown[id] = m.Head.Type != "update_display_data"
	}
}

// content has the parts of a message that are needed for an output, as parts of its text.
type content struct {
	members
	data, metadata, transient members
}

// members are the members of a JSON object; empty for any other value.
type members map[string][]byte

// split returns the members of a JSON object. They are parts of its text and not copies, because
// the text may be large.
func split(text []byte) members {
	all := members{}
	s := newScanner(bytes.NewReader(text), len(text))
	err := s.object(func(m *member) error {
		err := s.skip()
		all[m.key] = text[m.value:s.at]
		return err
	})
	if err != nil {
		return nil
	}
	return all
}

func read(m wire.Message) content {
	c := content{members: split(m.Content)}
	c.data, c.metadata, c.transient = split(c.members["data"]), split(c.members["metadata"]), split(c.members["transient"])
	return c
}

func (c content) display() string {
	var id string
	_ = json.Unmarshal(c.transient["display_id"], &id) // otherwise id stays empty
	return id
}

type printer struct {
	w      io.Writer
	plan   plan
	err    error
	some   bool   // an output was written
	stream string // name of the stream whose text is being written
}

func (p *printer) print(s string) { p.write([]byte(s)) }

func (p *printer) write(b []byte) {
	if p.err == nil {
		_, p.err = p.w.Write(b)
	}
}

// add writes the output of a message that is not cleared.
func (p *printer) add(at int, m wire.Message) {
	kind := m.Head.Type
	switch kind {
	case "stream", "display_data", "execute_result", "error":
	default:
		return
	}
	c := read(m)
	if kind == "stream" {
		p.text(streamName(c.members["name"]), c.members["text"])
		return
	}
	p.begin()
	if kind == "error" {
		p.failure(c)
		return
	}
	shown := c
	if id := c.display(); id != "" {
		if u, ok := p.plan.updates[id]; ok && u.at > at {
			shown = u.content
		}
	}
	p.print(`{"data":`)
	p.bundle(shown.data)
	if kind == "execute_result" {
		p.print(`,"execution_count":` + count(c.members["execution_count"]))
	}
	p.print(`,"metadata":`)
	p.object(shown.metadata, func(string, []byte) bool { return true })
	p.print(`,"output_type":"` + kind + `"}`)
}

// begin begins a new output, and ends the one before.
func (p *printer) begin() {
	p.endText()
	if p.some {
		p.print(",")
	}
	p.some = true
}

func (p *printer) text(name string, text []byte) {
	if p.stream != name {
		p.begin()
		p.print(`{"name":"` + name + `","output_type":"stream","text":"`)
		p.stream = name
	}
	quoted := quoted(text)
	p.write(quoted[1 : len(quoted)-1])
}

func (p *printer) endText() {
	if p.stream != "" {
		p.print(`"}`)
		p.stream = ""
	}
}

func (p *printer) failure(c content) {
	p.print(`{"ename":`)
	p.write(quoted(c.members["ename"]))
	p.print(`,"evalue":`)
	p.write(quoted(c.members["evalue"]))
	p.print(`,"output_type":"error","traceback":[`)
	var lines []json.RawMessage
	_ = json.Unmarshal(c.members["traceback"], &lines) // otherwise lines stays empty
	for i, line := range lines {
		if i > 0 {
			p.print(",")
		}
		p.write(quoted(line))
	}
	p.print("]}")
}

// bundle writes the data that nbformat allows: a string or a list of strings, and any value for a
// type of JSON.
func (p *printer) bundle(data members) {
	p.object(data, func(mime string, value []byte) bool {
		return mime == "application/json" || strings.HasPrefix(mime, "application/") && strings.HasSuffix(mime, "+json") || isText(value)
	})
}

func (p *printer) object(all members, keep func(string, []byte) bool) {
	p.print("{")
	first := true
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if !keep(key, all[key]) {
			continue
		}
		if !first {
			p.print(",")
		}
		first = false
		p.write(encode(key))
		p.print(":")
		p.write(whole(all[key]))
	}
	p.print("}")
}

// whole returns a value without unpaired surrogates. JSON can escape them, and a file in UTF-8
// cannot contain them.
func whole(raw []byte) []byte {
	if !bytes.Contains(raw, []byte(`\ud`)) && !bytes.Contains(raw, []byte(`\uD`)) {
		return raw
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return []byte("null")
	}
	return encode(v)
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte(`""`) // cannot fail: the value was decoded from JSON
	}
	return b
}

func isText(raw []byte) bool {
	if isString(raw) {
		return true
	}
	var lines []*string
	return len(raw) > 0 && raw[0] == '[' && json.Unmarshal(raw, &lines) == nil && !slices.Contains(lines, nil)
}

func isString(raw []byte) bool { return len(raw) > 1 && raw[0] == '"' }

// quoted returns a string, the lines of a list as one string, or an empty string for any other
// value.
func quoted(raw []byte) []byte {
	if isString(raw) {
		return whole(raw)
	}
	var lines []json.RawMessage
	if json.Unmarshal(raw, &lines) != nil {
		return []byte(`""`)
	}
	all := []byte{'"'}
	for _, line := range lines {
		if isString(line) {
			line = whole(line)
			all = append(all, line[1:len(line)-1]...)
		}
	}
	return append(all, '"')
}

// count returns the number of a prompt, or null.
func count(raw []byte) string {
	var n *int64
	if json.Unmarshal(raw, &n) != nil || n == nil || *n < 0 {
		return "null"
	}
	return string(encode(*n))
}

// streamName returns stdout or stderr, the two streams that a notebook has.
func streamName(raw []byte) string {
	if string(raw) == `"stderr"` {
		return "stderr"
	}
	return "stdout"
}
