package link

import (
	"strings"
	"testing"
	"time"

	"keyway/internal/stream"
)

func TestStallText(t *testing.T) {
	for _, c := range []struct {
		st    stream.Status
		since time.Duration
		help  string
		text  string
		next  time.Duration
	}{
		{stream.Status{State: stream.Up}, time.Hour, "", "", time.Hour},
		{stream.Status{State: stream.Ended}, time.Hour, "", "", time.Hour},
		{stream.Status{State: stream.Redialling}, 2 * time.Second, "", "", time.Second},
		{stream.Status{State: stream.Redialling, Why: "refused"}, 42*time.Second + 900*time.Millisecond, "", "stalled 42s: redialling gpu1", time.Second},
		{stream.Status{State: stream.Stalled}, 75 * time.Second, "", "stalled 1m15s: redialling gpu1", time.Second},
		{stream.Status{State: stream.Redialling, Why: "the agent holds no key"}, 5 * time.Second,
			"keyway unlock", "stalled 5s: redialling gpu1 (keyway unlock)", time.Second},
	} {
		if text, next := stallText("gpu1", c.st, c.since, c.help); text != c.text || next != c.next {
			t.Errorf("%v after %v: %q, %v", c.st, c.since, text, next)
		}
	}
}

// paper is a screen that records its input.
type paper struct {
	columns int
	lines   bool
	strings.Builder
}

func (p *paper) lined() bool       { return p.lines }
func (p *paper) size() int         { return p.columns }
func (p *paper) write(text string) { p.WriteString(text) }
func (p *paper) close()            {}

func (p *paper) take() string {
	defer p.Reset()
	return p.String()
}

// TestNewsForAProgram checks the lines that a program gets.
func TestNewsForAProgram(t *testing.T) {
	p := &paper{lines: true}
	l := stallLine{screen: p, text: unknown}
	for _, st := range []stream.Status{{State: stream.Up}, {State: stream.Up}, {State: stream.Stalled}, {State: stream.Redialling, Why: "a\tb"}, {State: stream.Up}, {State: stream.Ended}} {
		l.show(stallNews(st, "stalled 3s"))
	}
	l.clear()
	say(p, "it was stopped\nstart it")
	if said := p.take(); said != "\nstalled\tstalled 3s\t\nstalled\tstalled 3s\ta b\n\nended\tit was stopped\tstart it\n" {
		t.Errorf("%q", said)
	}
}

// TestStallLine checks that the line appears in the corner and is removed completely, also where a
// shorter line follows it.
func TestStallLine(t *testing.T) {
	p := &paper{columns: 20}
	l := stallLine{screen: p}
	l.clear()
	if said := p.take(); said != "" {
		t.Errorf("%q without a stall", said)
	}
	l.show("stalled 9 s")
	if said := p.take(); said != "\x1b7\x1b[1;10H\x1b[0;2mstalled 9 s\x1b8" {
		t.Errorf("shown as %q", said)
	}
	l.show("stalled 9 s")
	if said := p.take(); said != "" {
		t.Errorf("shown twice: %q", said)
	}
	l.show(strings.Repeat("x", 30))
	if said := p.take(); said != "\x1b7\x1b[1;10H\x1b[m\x1b[11X\x1b[1;1H\x1b[0;2m"+strings.Repeat("x", 20)+"\x1b8" {
		t.Errorf("too long a line is shown as %q", said)
	}
	l.clear()
	if said := p.take(); said != "\x1b7\x1b[1;1H\x1b[m\x1b[20X\x1b8" {
		t.Errorf("taken away by %q", said)
	}
	p.columns = 0 // the terminal is gone
	l.show("stalled")
	l.clear()
}
