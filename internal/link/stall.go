package link

import (
	"context"
	"fmt"
	"strings"
	"time"

	"keyway/internal/plain"
	"keyway/internal/stream"
)

const (
	// stallTime is the time that a stream may be without a working path before its user is told.
	stallTime = 3 * time.Second
	// stallRedraw is the interval at which the message is rewritten.
	stallRedraw = time.Second
)

// paper is where a user reads why a connection has ended.
type paper interface {
	// ended shows the reason, with the next step on a line of its own. Without a reason it shows
	// nothing to a person. If the connection had begun, its output may have stopped in a line.
	ended(reason string, begun bool)
	close()
}

// screen shows a user news of a connection: the terminal of its ssh, or a program that tells the
// users of several. A nil screen shows nothing.
type screen interface {
	paper
	// stalled reports that the stream has no working path, and why. The text is empty if it is too
	// early to tell a person.
	stalled(text, why string)
	// resumed reports that the stream works.
	resumed()
	// leave is called when this process reports no more stalls.
	leave()
	// fd returns the descriptor, to pass it to another process.
	fd() int
}

// device is the descriptor of a screen.
type device interface {
	size() (columns int)
	// write writes at once, or not at all: an ssh that is stopped by Ctrl-S must not block the
	// link.
	write(text string)
	fd() int
	close()
}

// watchStalls shows on the screen when the stream has no working path, until the stream or ctx
// ends.
func (c *proxied) watchStalls(ctx context.Context, guest *stream.Conn) {
	defer c.screen.leave()
	timer := time.NewTimer(stallTime)
	defer timer.Stop()
	for {
		st := guest.Status()
		text, next := stallText(string(c.uplink.place), st, time.Since(st.Since), c.advice())
		if st.State == stream.Up || st.State == stream.Ended {
			c.screen.resumed()
		} else {
			c.screen.stalled(text, st.Why)
		}
		timer.Reset(next)
		select {
		case <-guest.Changed():
		case <-timer.C:
		case <-guest.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// stallText returns the message about a stream that has been in its state for the given time, empty
// if all is well, and the time until the next check.
func stallText(place string, st stream.Status, since time.Duration, help string) (text string, next time.Duration) {
	switch {
	case st.State == stream.Up || st.State == stream.Ended:
		return "", time.Hour
	case since < stallTime:
		return "", stallTime - since
	}
	text = fmt.Sprintf("stalled %s: redialling %s", since.Truncate(time.Second), place)
	if help != "" {
		text += " (" + help + ")"
	}
	return text, stallRedraw
}

// terminal shows one dim line in the top right corner, where it covers the least: the bottom has
// the prompt, and the layout of a full-screen program is unknown.
type terminal struct {
	device
	text   string // shown now
	column int
}

func (t *terminal) stalled(text, _ string) { t.show(text) }
func (t *terminal) resumed()               { t.show("") }
func (t *terminal) leave()                 { t.show("") }

func (t *terminal) ended(reason string, begun bool) {
	t.show("")
	switch {
	case reason == "":
	case begun:
		t.write("\r\n" + lines(reason))
	default:
		t.write(lines(reason))
	}
}

// show replaces the line by text.
func (t *terminal) show(text string) {
	if text == t.text {
		return
	}
	columns := t.size()
	if runes := []rune(text); len(runes) > columns {
		text = string(runes[:columns])
	}
	// DECSC saves the position and the colours; DECRC restores them.
	var b strings.Builder
	b.WriteString("\x1b7")
	if t.text != "" {
		fmt.Fprintf(&b, "\x1b[1;%dH\x1b[m\x1b[%dX", t.column, len([]rune(t.text)))
	}
	if text != "" {
		t.column = columns - len([]rune(text)) + 1
		fmt.Fprintf(&b, "\x1b[1;%dH\x1b[0;2m%s", t.column, text)
	}
	b.WriteString("\x1b8")
	t.write(b.String())
	t.text = text
}

// lines returns a sentence, with the next step on a line of its own, for a terminal.
func lines(text string) string {
	return "keyway: " + strings.ReplaceAll(text, "\n", "\r\n  ") + "\r\n"
}

// program is a pipe to a program, which takes each piece of news as a line as soon as it is true. It
// is told why a connection has ended without first being told that a stall is over.
type program struct {
	device
	told string
}

// unknown is what a program has been told of a stream that this process has just begun to carry.
const unknown = "unknown"

func newProgram(on device) *program { return &program{on, unknown} }

func (p *program) stalled(text, why string) { p.tell("stalled\t" + text + "\t" + plain.Line(why)) }
func (p *program) resumed()                 { p.tell("") }
func (p *program) leave()                   {}

func (p *program) ended(reason string, _ bool) {
	p.write("ended\t" + strings.ReplaceAll(reason, "\n", "\t") + "\n")
}

func (p *program) tell(news string) {
	if news != p.told {
		p.write(news + "\n")
		p.told = news
	}
}
