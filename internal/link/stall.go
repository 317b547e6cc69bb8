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

// screen shows a user news of a connection: the terminal of its ssh, or a program that tells the
// users of several. A nil screen shows nothing.
type screen interface {
	// lined reports whether it takes lines of text, and each as soon as it is true.
	lined() bool
	size() (columns int)
	// write writes at once, or not at all: an ssh that is stopped by Ctrl-S must not block the
	// link.
	write(text string)
	close()
}

// watchStalls shows on the terminal when the stream has no working path, until the stream or ctx
// ends.
func (c *proxied) watchStalls(ctx context.Context, guest *stream.Conn) {
	line := stallLine{screen: c.screen}
	if c.screen.lined() {
		line.text = unknown
	}
	defer line.clear()
	timer := time.NewTimer(stallTime)
	defer timer.Stop()
	for {
		st := guest.Status()
		text, next := stallText(string(c.uplink.place), st, time.Since(st.Since), c.advice())
		if c.screen.lined() {
			text = stallNews(st, text)
		}
		line.show(text)
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

// stallNews returns what a program is told of a stream: nothing if all is well.
func stallNews(st stream.Status, text string) string {
	if st.State == stream.Up || st.State == stream.Ended {
		return ""
	}
	return "stalled\t" + text + "\t" + plain.Line(st.Why)
}

// unknown is what a program has been told of a stream that this process has just begun to carry.
const unknown = "unknown"

// stallLine is one dim line in the top right corner, where it covers the least: the bottom has the
// prompt, and the layout of a full-screen program is unknown.
type stallLine struct {
	screen screen
	text   string // shown now
	column int
}

// show replaces the line by text.
func (l *stallLine) show(text string) {
	if l.screen == nil || text == l.text {
		return
	}
	if l.screen.lined() {
		l.screen.write(text + "\n")
		l.text = text
		return
	}
	columns := l.screen.size()
	if runes := []rune(text); len(runes) > columns {
		text = string(runes[:columns])
	}
	// DECSC saves the position and the colours; DECRC restores them.
	var b strings.Builder
	b.WriteString("\x1b7")
	if l.text != "" {
		fmt.Fprintf(&b, "\x1b[1;%dH\x1b[m\x1b[%dX", l.column, len([]rune(l.text)))
	}
	if text != "" {
		l.column = columns - len([]rune(text)) + 1
		fmt.Fprintf(&b, "\x1b[1;%dH\x1b[0;2m%s", l.column, text)
	}
	b.WriteString("\x1b8")
	l.screen.write(b.String())
	l.text = text
}

// clear takes the line away. A program is told next why the stream has ended.
func (l *stallLine) clear() {
	if l.screen != nil && !l.screen.lined() {
		l.show("")
	}
}

// lines returns a sentence, with the next step on a line of its own, for a terminal.
func lines(text string) string {
	return "keyway: " + strings.ReplaceAll(text, "\n", "\r\n  ") + "\r\n"
}

// say writes a sentence on a line of its own, for a connection that has ended in the middle.
func say(s screen, text string) {
	switch {
	case s == nil:
	case s.lined():
		s.write("ended\t" + strings.ReplaceAll(text, "\n", "\t") + "\n")
	default:
		s.write("\r\n" + lines(text))
	}
}
