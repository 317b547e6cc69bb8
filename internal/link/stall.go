package link

import (
	"context"
	"fmt"
	"strings"
	"time"

	"keyway/internal/stream"
)

const (
	// stallTime is how long a stream may be without a working path before its user
	// is told.
	stallTime = 3 * time.Second
	// stallRedraw is how often the line about it is written anew.
	stallRedraw = time.Second
)

// screen is where a user sees news of a connection: the terminal of its ssh. A
// nil screen shows nothing.
type screen interface {
	size() (columns int)
	// write writes at once, or not at all: an ssh that is stopped by Ctrl-S must not
	// stop us.
	write(text string)
	close()
}

// watchStalls tells on the terminal while the stream has no working path, until
// it has ended or ctx does.
func (c *proxied) watchStalls(ctx context.Context, guest *stream.Conn) {
	line := stallLine{screen: c.screen}
	defer line.clear()
	timer := time.NewTimer(stallTime)
	defer timer.Stop()
	for {
		st := guest.Status()
		text, next := stallText(string(c.uplink.place), st, time.Since(st.Since), c.advice())
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

// stallText is what is to be said of a stream that has been in its state for so
// long, nothing if all is well, and when to look again.
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

// stallLine is one dim line in the top right corner, where there is least to
// cover: the bottom has the prompt, and nobody can tell what a full-screen
// program has there.
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
	columns := l.screen.size()
	if runes := []rune(text); len(runes) > columns {
		text = string(runes[:columns])
	}
	// DECSC, which keeps position and colours; back with DECRC.
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

func (l *stallLine) clear() { l.show("") }

// say writes a sentence on a line of its own, for a connection that has ended in
// the middle.
func say(s screen, text string) {
	if s != nil {
		s.write("\r\nkeyway: " + strings.ReplaceAll(text, "\n", "\r\n  ") + "\r\n")
	}
}
