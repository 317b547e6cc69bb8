package sshconfig

import (
	"fmt"
	"strings"
	"unicode"
)

// edit is one line of a file that changes: kept (' '), taken out ('-') or
// added ('+').
type edit struct {
	op   byte
	line string // with its line end
}

// result returns the file after the edits.
func result(edits []edit) []byte {
	var b []byte
	for _, e := range edits {
		if e.op != '-' {
			b = append(b, e.line...)
		}
	}
	return b
}

// contextLines is the number of unchanged lines that a diff shows on each side of a change.
const contextLines = 3

// diff shows the edits as diff -u does.
func diff(path string, edits []edit) string {
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s\n+++ %s\n", path, path)
	shown := nearChanges(edits)
	old, new := 1, 1
	for i := 0; i < len(edits); {
		end := i
		for end < len(edits) && shown[end] {
			end++
		}
		if end > i {
			old, new = writeHunk(&b, edits[i:end], old, new)
			i = end
			continue
		}
		i, old, new = i+1, old+1, new+1 // only kept lines are not shown
	}
	return b.String()
}

// nearChanges reports for each line whether it is a change or close to one.
func nearChanges(edits []edit) []bool {
	shown := make([]bool, len(edits))
	for i, e := range edits {
		if e.op == ' ' {
			continue
		}
		for j := max(0, i-contextLines); j <= min(len(edits)-1, i+contextLines); j++ {
			shown[j] = true
		}
	}
	return shown
}

// writeHunk writes edits, which begin at these line numbers of the old and the
// new file, and returns the line numbers after them.
func writeHunk(b *strings.Builder, edits []edit, old, new int) (oldEnd, newEnd int) {
	taken, added := 0, 0
	for _, e := range edits {
		if e.op != '+' {
			taken++
		}
		if e.op != '-' {
			added++
		}
	}
	fmt.Fprintf(b, "@@ -%s +%s @@\n", span(old, taken), span(new, added))
	for _, e := range edits {
		b.WriteByte(e.op)
		b.WriteString(printable(e.line))
		b.WriteByte('\n')
	}
	return old + taken, new + added
}

// span returns a range of lines in the form of diff -u: an empty range has the number of the line
// before it.
func span(start, n int) string {
	if n == 0 {
		start--
	}
	return fmt.Sprintf("%d,%d", start, n)
}

// printable returns a line for a terminal, without its line end and without control sequences.
func printable(line string) string {
	line = strings.TrimRight(line, "\r\n")
	return strings.Map(func(r rune) rune {
		if r != '\t' && unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, line)
}
