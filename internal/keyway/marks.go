package keyway

import (
	"bytes"
	"cmp"
	"io"
	"strings"
)

// EnvMarks is the variable by which a laptop asks the workspace's keyway for marks in its output, over
// SSH. A laptop that follows a session continues there after its connection has broken. The value is a
// word that no other output has, and after a break the positions to which standard output and standard
// error have come. A mark is ESC ] WORD ; POSITION BEL. It says that all output of its stream up to
// that position has come before it.
const EnvMarks = "RESUME_MARKS"

// MarkBegins returns the beginning of each mark with that word.
func MarkBegins(word string) string { return "\x1b]" + word + ";" }

const markEnds = '\a'

// Mark returns a mark.
func Mark(word, position string) []byte {
	return append([]byte(MarkBegins(word)+position), markEnds)
}

// Bounds of what an Unmarker keeps, in bytes.
const (
	maxPosition = 200
	maxUnmarked = 8 << 20
)

// Unmarker takes the marks out of an output. It passes output on when the mark after it has come,
// so that the passed output always ends at a known position. Before the first mark it passes
// everything on: an older guest sends none.
type Unmarker struct {
	To    io.Writer
	Word  string
	first string    // the first position of either stream
	last  [2]string // the last positions of standard output and standard error; empty: none came
	held  []byte
	err   error // of To, which gets no more then
}

// RequestMarks returns the request for marks, with the positions at which the two outputs continue,
// if any mark has come. They may be one.
func RequestMarks(out, errs *Unmarker) string {
	request := EnvMarks + "=" + out.Word
	if !Marked(out, errs) {
		return request
	}
	// Both streams begin with a mark, at the same position.
	first := cmp.Or(out.first, errs.first)
	out.first, errs.first = first, first // a guest that sends marks on one sends them on the other
	return request + " " + cmp.Or(out.last[0], first) + " " + cmp.Or(errs.last[1], first)
}

// Moved reports whether the output has come further than its first mark.
func (u *Unmarker) Moved() bool { return u.last[0] != "" && u.last[0] != u.first }

// Marked reports whether any mark has come.
func Marked(out, errs *Unmarker) bool { return out.first != "" || errs.first != "" }

// Write implements io.Writer.
func (u *Unmarker) Write(p []byte) (int, error) {
	u.held = append(u.held, p...)
	begins := []byte(MarkBegins(u.Word))
	for {
		at := bytes.Index(u.held, begins)
		if at < 0 {
			break
		}
		position, rest, ends := bytes.Cut(u.held[at+len(begins):], []byte{markEnds})
		if !ends && len(position) <= maxPosition {
			break
		}
		if err := u.pass(u.held[:at]); err != nil {
			return 0, err
		}
		u.note(string(position))
		u.held = rest
	}
	free := 0
	if u.first == "" || len(u.held) > maxUnmarked {
		free = len(u.held) - begun(u.held, begins)
	}
	if err := u.pass(u.held[:free]); err != nil {
		return 0, err
	}
	u.held = bytes.Clone(u.held[free:])
	return len(p), nil
}

// begun returns the length of the beginning of a mark at the end of p.
func begun(p, begins []byte) int {
	if at := bytes.Index(p, begins); at >= 0 {
		return len(p) - at
	}
	for n := min(len(p), len(begins)-1); n > 0; n-- {
		if bytes.HasSuffix(p, begins[:n]) {
			return n
		}
	}
	return 0
}

// note keeps a position, if it may be one. It begins with the number of its stream.
func (u *Unmarker) note(position string) {
	stream, _, _ := strings.Cut(position, ";")
	if len(position) > maxPosition || strings.Trim(position, "0123456789;") != "" {
		return
	}
	u.first = cmp.Or(u.first, position)
	switch stream {
	case "1":
		u.last[0] = position
	case "2":
		u.last[1] = position
	}
}

// Flush passes the rest on, at the end of the output.
func (u *Unmarker) Flush() error {
	err := u.pass(u.held)
	u.held = nil
	return err
}

func (u *Unmarker) pass(p []byte) error {
	if u.err == nil && len(p) > 0 {
		_, u.err = u.To.Write(p)
	}
	return u.err
}

// Drop drops the bytes after the last mark, which will be sent again.
func (u *Unmarker) Drop() { u.held = nil }
