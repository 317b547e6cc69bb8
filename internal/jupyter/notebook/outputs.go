// Package notebook turns what a kernel has said into the outputs of a notebook's cells,
// and puts them into a notebook as nbformat 4 describes it. It is pure, and holds
// neither: both may be large.
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

// WriteOutputs writes what remains to be seen of an execution's messages, as the value of
// a cell's outputs. Each output is valid for nbformat, whatever the kernel has said. It
// reads the messages twice, and returns their first error.
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

// plan is what has to be known of all messages before the first is written.
type plan struct {
	from    int               // the first message that is not cleared
	updates map[string]update // by display_id, the last one
}

type update struct {
	at int
	content
}

func survey(messages iter.Seq2[wire.Message, error]) (plan, error) {
	p := plan{updates: map[string]update{}}
	at, clear := -1, false // clear with the next output
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

// update notes what a message changes of displays before it: shown are the ids of those.
func (p *plan) update(at int, m wire.Message, shown map[string]bool) {
	if m.Head.Type == "stream" || !bytes.Contains(m.Content, []byte(`"display_id"`)) {
		return
	}
	id := read(m).display()
	switch {
	case id == "":
	case shown[id]:
		m.Content = bytes.Clone(m.Content) // which stays, unlike the message
		p.updates[id] = update{at, read(m)}
	default:
		shown[id] = m.Head.Type != "update_display_data"
	}
}

// content is what is read of a message that shows something: parts of its text as they are
// there.
type content struct {
	members
	data, metadata, transient members
}

// members are those of a JSON object; none of what is no object.
type members map[string][]byte

// split returns the members of a JSON object, which are parts of its text: that may be large.
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
	_ = json.Unmarshal(c.transient["display_id"], &id) // none
	return id
}

type printer struct {
	w      io.Writer
	plan   plan
	err    error
	some   bool   // an output is there
	stream string // the name of the one whose text is being written
}

func (p *printer) print(s string) { p.write([]byte(s)) }

func (p *printer) write(b []byte) {
	if p.err == nil {
		_, p.err = p.w.Write(b)
	}
}

// add writes a message that is not cleared.
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

// begin begins an output after the one before.
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
	_ = json.Unmarshal(c.members["traceback"], &lines) // none
	for i, line := range lines {
		if i > 0 {
			p.print(",")
		}
		p.write(quoted(line))
	}
	p.print("]}")
}

// bundle keeps what nbformat allows: text, or lines of text, and anything for the types
// of JSON.
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

// whole returns a value without halves of characters, which JSON can write and a
// file cannot hold.
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
		return []byte(`""`) // of what was decoded nothing is no JSON
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

// quoted returns a string, or lines of text as one, and empty for what is neither.
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

// count returns the number of a prompt.
func count(raw []byte) string {
	var n *int64
	if json.Unmarshal(raw, &n) != nil || n == nil || *n < 0 {
		return "null"
	}
	return string(encode(*n))
}

// streamName returns the name of a stream: a notebook knows two.
func streamName(raw []byte) string {
	if string(raw) == `"stderr"` {
		return "stderr"
	}
	return "stdout"
}
