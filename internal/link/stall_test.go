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

// tape is a device that records its input.
type tape struct {
	columns int
	strings.Builder
}

func (p *tape) size() int         { return p.columns }
func (p *tape) write(text string) { p.WriteString(text) }
func (p *tape) fd() int           { return -1 }
func (p *tape) close()            {}

func (p *tape) take() string {
	defer p.Reset()
	return p.String()
}

// TestNewsForAProgram checks the lines that a program gets.
func TestNewsForAProgram(t *testing.T) {
	p := &tape{}
	s := screen(newProgram(p))
	s.resumed()
	s.resumed()
	s.stalled("", "")
	s.stalled("stalled 3s", "")
	s.stalled("stalled 3s", "a\tb")
	s.resumed()
	s.stalled("", "")
	s.leave()
	s.ended("it was stopped\nstart it", true)
	if said := p.take(); said != "\nstalled\t\t\nstalled\tstalled 3s\t\nstalled\tstalled 3s\ta b\n\nstalled\t\t\nended\tit was stopped\tstart it\n" {
		t.Errorf("%q", said)
	}
}

// TestStallLine checks that the line appears in the corner and is removed completely, also where a
// shorter line follows it.
func TestStallLine(t *testing.T) {
	p := &tape{columns: 20}
	l := &terminal{device: p}
	l.resumed()
	if said := p.take(); said != "" {
		t.Errorf("%q without a stall", said)
	}
	l.stalled("stalled 9 s", "")
	if said := p.take(); said != "\x1b7\x1b[1;10H\x1b[0;2mstalled 9 s\x1b8" {
		t.Errorf("shown as %q", said)
	}
	l.stalled("stalled 9 s", "")
	if said := p.take(); said != "" {
		t.Errorf("shown twice: %q", said)
	}
	l.stalled(strings.Repeat("x", 30), "")
	if said := p.take(); said != "\x1b7\x1b[1;10H\x1b[m\x1b[11X\x1b[1;1H\x1b[0;2m"+strings.Repeat("x", 20)+"\x1b8" {
		t.Errorf("too long a line is shown as %q", said)
	}
	l.resumed()
	if said := p.take(); said != "\x1b7\x1b[1;1H\x1b[m\x1b[20X\x1b8" {
		t.Errorf("taken away by %q", said)
	}
	p.columns = 0 // the terminal is gone
	l.stalled("stalled", "")
	l.resumed()
	p.Reset()
	p.columns = 20
	l.stalled("stalled", "")
	p.Reset()
	l.ended("it was stopped\nstart it", true)
	if said := p.take(); said != "\x1b7\x1b[1;14H\x1b[m\x1b[7X\x1b8\r\nkeyway: it was stopped\r\n  start it\r\n" {
		t.Errorf("ended with %q", said)
	}
	l.ended("", true)
	l.ended("refused", false)
	if said := p.take(); said != "keyway: refused\r\n" {
		t.Errorf("refused with %q", said)
	}
}
