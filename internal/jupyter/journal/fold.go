package journal

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"keyway/internal/jupyter/wire"
)

// outline has the properties of a record that compaction needs.
type outline struct {
	shows bool // a clear_output removes it
	takes bool // it makes a waiting clear_output take effect
	change
}

// change is the effect of a message on earlier outputs.
type change struct {
	kind    string // clear_output, update_display_data, or empty
	wait    bool   // of clear_output
	display string // of update_display_data
}

// change returns the effect of a recorded message.
func (r record) change() (c change) {
	if r.kind != output {
		return c
	}
	m, err := r.message()
	if err != nil || m.Head.Type != "clear_output" && m.Head.Type != "update_display_data" {
		return c
	}
	var content struct {
		Wait      bool `json:"wait"`
		Transient struct {
			ID string `json:"display_id"`
		} `json:"transient"`
	}
	if json.Unmarshal(m.Content, &content) != nil {
		return c
	}
	return change{m.Head.Type, content.Wait, content.Transient.ID}
}

func (r record) outline() outline {
	c := r.change()
	return outline{r.shows(), r.kind == stream || r.kind == output && c.kind != "update_display_data", c}
}

// compact reports for each record whether it stays. Of the updates of a display, the last one
// stays. Outputs before a clear_output that has taken effect do not. cleared reports whether there
// was such a clear_output, so that the outputs in earlier segments can be dropped, too.
func compact(records []outline) (stays []bool, cleared bool) {
	stays = make([]bool, len(records))
	later := map[string]bool{}
	for i, r := range slices.Backward(records) {
		stays[i] = r.kind != "update_display_data" || !later[r.display]
		if r.kind == "update_display_data" {
			later[r.display] = true
		}
	}
	last := lastCleared(records)
	for i := range max(last, 0) {
		stays[i] = stays[i] && !records[i].shows
	}
	return stays, last >= 0
}

// lastCleared returns the index of the last clear_output that has taken effect, at once or with the
// next output; -1 if there is none.
func lastCleared(records []outline) int {
	last, waiting := -1, -1
	for i, r := range records {
		switch {
		case r.kind == "clear_output" && r.wait:
			waiting = i
		case r.kind == "clear_output":
			last, waiting = i, -1
		case waiting >= 0 && r.takes:
			last, waiting = waiting, -1
		}
	}
	return last
}

// shows reports whether a clear_output removes the record.
func (r record) shows() bool {
	return r.kind == stream || r.kind == output || r.kind == gap || r.kind == restarted
}

// fold removes, in each line, the text that a carriage return has overwritten. It keeps the
// beginning of the first line, which may continue an earlier text. It also keeps a carriage return
// at the end of a line, and the last text of an unfinished line, because more text may follow.
func fold(s string) string {
	if strings.IndexByte(s, '\r') < 0 {
		return s
	}
	var b strings.Builder
	first := true
	for line := range strings.Lines(s) {
		end := ""
		if strings.HasSuffix(line, "\n") {
			line, end = line[:len(line)-1], "\n"
		}
		if strings.HasSuffix(line, "\r") {
			line, end = line[:len(line)-1], "\r"+end
		}
		if first {
			if at := strings.IndexByte(line, '\r'); at >= 0 {
				b.WriteString(line[:at+1])
				line = line[at+1:]
			}
		}
		first = false
		texts := strings.Split(line, "\r")
		left, last := overwrite(texts), texts[len(texts)-1]
		b.WriteString(left)
		if end == "" && left != last { // more text follows the last one
			b.WriteString("\r" + last)
		}
		b.WriteString(end)
	}
	return b.String()
}

// overwrite returns the visible part of texts that were each written from the beginning of the
// line.
func overwrite(texts []string) string {
	seen := texts[len(texts)-1]
	width := columns(seen)
	for i := len(texts) - 2; i >= 0; i-- {
		w := columns(texts[i])
		if w <= width {
			continue
		}
		if strings.Contains(texts[i], "\x1b") || strings.Contains(seen, "\x1b") {
			return texts[i] + "\r" + seen // with colours, the reader's terminal overwrites the text
		}
		seen += string([]rune(texts[i])[width:])
		width = w
	}
	return seen
}

// columns counts the characters of a text without its escape sequences.
func columns(s string) int {
	if strings.IndexByte(s, '\x1b') < 0 {
		return utf8.RuneCountInString(s)
	}
	n, inside := 0, false
	for _, r := range s {
		switch {
		case r == '\x1b':
			inside = true
		case inside:
			inside = !(r >= '@' && r <= '~' && r != '[')
		default:
			n++
		}
	}
	return n
}

var displayKey = []byte(`"display_id"`)

// displayID returns the display_id of a message; empty if it has none.
func displayID(m wire.Message) string {
	switch m.Head.Type {
	case "display_data", "execute_result", "update_display_data":
	default:
		return ""
	}
	var c struct {
		Transient struct {
			ID string `json:"display_id"`
		} `json:"transient"`
	}
	if m.Channel != "iopub" || !bytes.Contains(m.Content, displayKey) || json.Unmarshal(m.Content, &c) != nil || len(c.Transient.ID) > maxDisplayID {
		return ""
	}
	return c.Transient.ID
}

// maxDisplayID bounds a display_id in bytes.
const maxDisplayID = 256

// showing reports whether a kernel's message produces an output in a cell.
func showing(m wire.Message) bool {
	if m.Channel != "iopub" {
		return false
	}
	switch m.Head.Type {
	case "stream", "display_data", "execute_result", "error", "update_display_data", "clear_output":
		return true
	}
	return false
}
