// Package notebook turns what a kernel has said into the outputs of a notebook's cells,
// and puts them into a notebook as nbformat 4 describes it. It is pure.
package notebook

import (
	"encoding/json"
	"iter"
	"strings"

	"keyway/internal/jupyter/wire"
)

// Output is an output of a cell as nbformat's schema has it.
type Output = map[string]any

// Outputs are what is left to see of an execution's messages. Each is valid for
// nbformat, whatever the kernel has said. An error of the messages ends them.
func Outputs(messages iter.Seq2[wire.Message, error]) ([]Output, error) {
	b := builder{displays: map[string][]Output{}, outputs: []Output{}}
	for m, err := range messages {
		if err != nil {
			return nil, err
		}
		if m.Channel == "iopub" {
			b.add(m)
		}
	}
	b.endText()
	return b.outputs, nil
}

type builder struct {
	outputs  []Output
	displays map[string][]Output // by display_id
	clear    bool                // with the next output
	text     *strings.Builder    // of the last output, if that is a stream
	name     string
}

// content is what is read of a message that shows something. Fields of other types
// than these are left out.
type content struct {
	Wait      any `json:"wait"`
	Name      any `json:"name"`
	Text      any `json:"text"`
	Data      any `json:"data"`
	Metadata  any `json:"metadata"`
	Count     any `json:"execution_count"`
	EName     any `json:"ename"`
	EValue    any `json:"evalue"`
	Traceback any `json:"traceback"`
	Transient any `json:"transient"`
}

func (b *builder) add(m wire.Message) {
	kind := m.Head.Type
	switch kind {
	case "stream", "display_data", "execute_result", "error", "update_display_data", "clear_output":
	default:
		return
	}
	var c content
	if json.Unmarshal(m.Content, &c) != nil {
		return
	}
	if kind == "clear_output" {
		if wait, _ := c.Wait.(bool); wait {
			b.clear = true
		} else {
			b.reset()
		}
		return
	}
	if kind == "update_display_data" {
		for _, o := range b.displays[c.display()] {
			o["data"], o["metadata"] = bundle(c.Data), object(c.Metadata)
		}
		return
	}
	if b.clear {
		b.reset()
	}
	if kind == "stream" {
		b.write(stream(c.Name), text(c.Text))
		return
	}
	b.endText()
	o := c.output(kind)
	b.outputs = append(b.outputs, o)
	if id := c.display(); id != "" {
		b.displays[id] = append(b.displays[id], o)
	}
}

func (b *builder) reset() {
	b.text, b.clear = nil, false
	b.outputs, b.displays = []Output{}, map[string][]Output{}
}

func (b *builder) write(name, text string) {
	if b.text == nil || b.name != name {
		b.endText()
		b.outputs = append(b.outputs, Output{"output_type": "stream", "name": name})
		b.text, b.name = &strings.Builder{}, name
	}
	b.text.WriteString(text)
}

func (b *builder) endText() {
	if b.text != nil {
		b.outputs[len(b.outputs)-1]["text"] = b.text.String()
		b.text = nil
	}
}

func (c content) display() string {
	id, _ := object(c.Transient)["display_id"].(string)
	return id
}

func (c content) output(kind string) Output {
	o := Output{"output_type": kind}
	if kind == "error" {
		lines, _ := c.Traceback.([]any)
		traceback := make([]any, 0, len(lines))
		for _, line := range lines {
			traceback = append(traceback, text(line))
		}
		o["ename"], o["evalue"], o["traceback"] = text(c.EName), text(c.EValue), traceback
		return o
	}
	o["data"], o["metadata"] = bundle(c.Data), object(c.Metadata)
	if kind == "execute_result" {
		o["execution_count"] = nil
		if n, ok := c.Count.(float64); ok && n >= 0 && n == float64(int64(n)) {
			o["execution_count"] = int64(n)
		}
	}
	return o
}

func object(v any) map[string]any {
	if o, ok := v.(map[string]any); ok {
		return o
	}
	return map[string]any{}
}

// bundle keeps what nbformat allows: text, or lines of text, and anything for the types
// of JSON.
func bundle(v any) map[string]any {
	kept := map[string]any{}
	for mime, value := range object(v) {
		if mime == "application/json" || strings.HasPrefix(mime, "application/") && strings.HasSuffix(mime, "+json") || isText(value) {
			kept[mime] = value
		}
	}
	return kept
}

func isText(v any) bool {
	lines, ok := v.([]any)
	if !ok {
		_, ok = v.(string)
		return ok
	}
	for _, line := range lines {
		if _, ok := line.(string); !ok {
			return false
		}
	}
	return true
}

// text is a string, or lines of text as one.
func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	lines, _ := v.([]any)
	var b strings.Builder
	for _, line := range lines {
		s, _ := line.(string)
		b.WriteString(s)
	}
	return b.String()
}

// stream is the name of a stream: a notebook knows two.
func stream(v any) string {
	if v == "stderr" {
		return "stderr"
	}
	return "stdout"
}
