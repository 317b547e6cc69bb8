package journal

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"keyway/internal/jupyter/wire"
)

// compact returns records that show the same with less: pieces of one stream are
// merged, what carriage returns have overwritten is folded, of the updates of a display
// the last is kept, and what was shown before an output was cleared is dropped. It
// reports whether something was cleared, so that what earlier records show is dead too.
func compact(records []record) (_ []record, cleared bool) {
	records, cleared = dropCleared(dropUpdates(records))
	var kept []record
	for i := 0; i < len(records); i++ {
		if records[i].kind != stream {
			kept = append(kept, records[i])
			continue
		}
		name, text := records[i].text()
		var all strings.Builder
		all.WriteString(text)
		for i+1 < len(records) && records[i+1].kind == stream {
			n, t := records[i+1].text()
			if n != name {
				break
			}
			all.WriteString(t)
			i++
		}
		kept = append(kept, textRecord(name, fold(all.String())))
	}
	return kept, cleared
}

// display is what compact reads of an output.
type display struct {
	Wait      bool `json:"wait"` // of clear_output
	Transient struct {
		ID string `json:"display_id"`
	} `json:"transient"`
}

// look reads the kind of a recorded message and what compact needs of it.
func (r record) look() (kind string, d display) {
	if r.kind != output {
		return "", d
	}
	m, err := r.message()
	if err != nil || json.Unmarshal(m.Content, &d) != nil {
		return "", display{}
	}
	return m.Head.Type, d
}

// dropUpdates keeps the last update of each display.
func dropUpdates(records []record) []record {
	later := map[string]bool{}
	kept := make([]record, 0, len(records))
	for i := len(records) - 1; i >= 0; i-- {
		if kind, d := records[i].look(); kind == "update_display_data" {
			if later[d.Transient.ID] {
				continue
			}
			later[d.Transient.ID] = true
		}
		kept = append(kept, records[i])
	}
	for i, j := 0, len(kept)-1; i < j; i, j = i+1, j-1 {
		kept[i], kept[j] = kept[j], kept[i]
	}
	return kept
}

// dropCleared drops what was shown before the last clear_output that has taken effect:
// at once, or with the next output.
func dropCleared(records []record) ([]record, bool) {
	last, waiting := -1, -1
	for i, r := range records {
		switch kind, d := r.look(); {
		case kind == "clear_output" && d.Wait:
			waiting = i
		case kind == "clear_output":
			last, waiting = i, -1
		case waiting >= 0 && (r.kind == stream || r.kind == output && kind != "update_display_data"):
			last, waiting = waiting, -1
		}
	}
	if last < 0 {
		return records, false
	}
	var kept []record
	for i, r := range records {
		if i >= last || !r.shows() {
			kept = append(kept, r)
		}
	}
	return kept, true
}

// shows reports whether the record is something that can be cleared.
func (r record) shows() bool {
	return r.kind == stream || r.kind == output || r.kind == gap || r.kind == restarted
}

// fold drops of each line what a carriage return overwrote. The first line may continue
// one that is not here, so its beginning stays; so do a carriage return at the end,
// after which more may come, and what is written last.
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
		if end == "" && left != last { // more comes after what was written last
			b.WriteString("\r" + last)
		}
		b.WriteString(end)
	}
	return b.String()
}

// overwrite is what is left to see of texts that were each written from the line's
// beginning.
func overwrite(texts []string) string {
	seen := texts[len(texts)-1]
	width := columns(seen)
	for i := len(texts) - 2; i >= 0; i-- {
		w := columns(texts[i])
		if w <= width {
			continue
		}
		if strings.Contains(texts[i], "\x1b") || strings.Contains(seen, "\x1b") {
			return texts[i] + "\r" + seen // colours: who reads it overwrites it
		}
		seen += string([]rune(texts[i])[width:])
		width = w
	}
	return seen
}

// columns counts the characters without escape sequences.
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

// showing reports whether a message of the kernel shows something in a cell.
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
