//go:build linux

package words

import (
	"os"
	"strconv"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/session"
	"keyway/internal/session/lines"
	"keyway/internal/session/wire"
)

// position is the place in a session's log that one stream of a viewer's output has come to.
type position [6]uint64

// The parts of a position.
const (
	ofStream  = iota // 1 standard output, 2 standard error
	ofSession        // start of the session in ns since 1970, which no other session has
	inLog            // offset
	behind           // rows that are drawn and not printed yet
	toDrop           // lines that are still to be dropped
	skipped          // bytes that were skipped so far
)

// resume describes how an output continues that a laptop follows over connections that break.
type resume struct {
	word string      // for marks; empty: none are wanted
	from [2]position // where standard output and standard error continue; zero: this is the beginning
}

// asksToResume reads the laptop's request for that.
func asksToResume() (r resume) {
	for i, text := range strings.Fields(os.Getenv(keyway.EnvMarks)) {
		if i == 0 {
			r.word = text
			continue
		}
		for n, part := range strings.Split(text, ";") {
			if n < len(r.from[0]) && i <= len(r.from) {
				r.from[i-1][n], _ = strconv.ParseUint(part, 10, 64)
			}
		}
	}
	return r
}

// again reports whether the output continues.
func (r *resume) again() bool { return r.from[0][ofSession] != 0 }

// mark writes a mark.
func (r *resume) mark(f *os.File, p position) error {
	if r.word == "" {
		return nil
	}
	var text []byte
	for _, part := range p {
		text = append(strconv.AppendUint(text, part, 10), ';')
	}
	_, err := f.Write(keyway.Mark(r.word, string(text)))
	return err
}

// chosen returns the session that a command is about; see oneName. A command that continues takes
// the same session, which may have another name by now, or be gone.
func (c *cli) chosen(cmd string, args []string, r *resume) (session.Info, error) {
	if r.again() {
		list, err := c.List()
		for _, i := range list {
			if uint64(i.Started.UnixNano()) == r.from[0][ofSession] {
				return i, err
			}
		}
		if err == nil {
			err = keyway.Errorf(keyway.NotFound, "the session was removed")
		}
		return session.Info{}, err
	}
	name, err := c.oneName(cmd, args)
	if err != nil {
		return session.Info{}, err
	}
	return c.Settled(name)
}

// progress is how far a logSink has come, and how far one had come on an earlier connection.
type progress struct {
	resume
	files   []*os.File
	at      uint64  // offset of the next output
	wrote   bool    // since the last mark
	marked  uint64  // offset of the last mark
	reached [3]bool // by stream: earlier output is over
}

// file returns the index of the file for a stream.
func file(s wire.Stream) int {
	if s == wire.Stderr {
		return 1
	}
	return 0
}

// earlier returns the number of bytes, of the next n bytes of a stream, that were handled before
// the connection broke.
func (p *progress) earlier(s wire.Stream, n int) int {
	return int(min(uint64(n), p.from[file(s)][inLog]-min(p.at, p.from[file(s)][inLog])))
}

// reach records that the output has reached the position where it continues. The rows above it have
// been printed before.
func (l *logSink) reach() {
	for s, c := range l.All {
		from := l.from[file(wire.Stream(s))]
		if l.reached[s] || l.at < from[inLog] {
			continue
		}
		if c != nil {
			c.SkipTo(from[behind])
		}
		l.reached[s] = true
	}
}

// skipAgain returns the bytes, of n lost ones, that were not counted before.
func (l *logSink) skipAgain(n uint64) uint64 {
	from := min(l.from[0][inLog], l.from[1][inLog])
	before := min(n, from-min(l.at, from))
	l.at += n
	return n - before
}

// often is the number of bytes of output after which there is a mark even if nothing was printed: the
// log may drop what is before it.
const often = 1 << 20

// mark sends the laptop the present position, if it has changed.
func (l *logSink) mark() (err error) {
	if l.word == "" || !l.wrote && l.at-l.marked < often {
		return nil
	}
	l.wrote, l.marked = false, l.at
	for n, f := range l.files {
		if l.at < l.from[n][inLog] {
			continue // it has come further already
		}
		p := l.from[0]
		p[ofStream], p[inLog], p[behind], p[toDrop], p[skipped] = uint64(n+1), l.at, 0, uint64(l.drop), l.tty.Skipped
		for s, c := range l.All {
			if c != nil && file(wire.Stream(s)) == n {
				p[behind] = c.Behind()
			}
		}
		if err == nil {
			err = l.resume.mark(f, p)
		}
	}
	return err
}

// goesOn returns the offset at which to read the log in dir so that the output continues, and
// prepares the sink for that. It is earlier than the place itself, so that the screen looks as it
// did there.
func (l *logSink) goesOn(dir string) (at uint64, err error) {
	l.drop, l.tty.Skipped, l.Exact = int(l.from[0][toDrop]), max(l.from[0][skipped], l.from[1][skipped]), false
	at = min(l.from[0][inLog], l.from[1][inLog])
	if !l.raw {
		at, err = lines.Before(dir, at)
	}
	return at, err
}
