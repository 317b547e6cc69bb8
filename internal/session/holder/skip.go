//go:build linux

package holder

import (
	"bytes"

	"keyway/internal/screen"
	"keyway/internal/session/wire"
)

// skipFrom is the number of bytes that the display must be behind before it looks for output that
// need not be shown.
const skipFrom = 1 << 20

// landing is a place in plain output that the display may skip to.
type landing struct {
	at    uint64 // right after CR LF
	lines int    // line feeds before it
	pen   uint64 // offset from which the pen must be followed to know its state at the landing
}

// skip skips output that would have left the screen and the history by offset end. It returns the
// offset up to which it has found nothing more to skip.
func (p *display) skip(end uint64) (stop uint64) {
	need, ok := p.screen.Skippable()
	if !ok || end-p.at < skipFrom {
		return min(end, p.at+skipFrom)
	}
	landings, lines, stop := p.survey(end)
	for i := len(landings) - 1; i >= 0; i-- {
		if lines-landings[i].lines >= need {
			p.jump(landings[i])
			break
		}
	}
	return stop
}

// survey reads on from the display's position, up to end or to something that is not plain.
func (p *display) survey(end uint64) (landings []landing, lines int, stop uint64) {
	pen := p.at
	for stop = p.at; stop < end; {
		got, s := p.read(stop)
		if s == wire.Lost {
			break
		}
		plain := p.buf[:got]
		n, more, reset := screen.Plain(plain)
		if n == 0 {
			break
		}
		plain = plain[:n]
		if cut := bytes.LastIndex(plain, []byte("\r\n")) + 2; cut > 1 && cut > reset {
			l := landing{at: stop + uint64(cut), lines: lines + bytes.Count(plain[:cut], []byte("\n")), pen: pen}
			if reset >= 0 {
				l.pen = stop + uint64(reset)
			}
			landings = append(landings, l)
		}
		if reset >= 0 {
			pen = stop + uint64(reset)
		}
		lines += more
		stop += uint64(n)
	}
	return landings, lines, stop
}

// jump skips to a landing.
func (p *display) jump(l landing) {
	for at := l.pen; at < l.at; {
		got, _ := p.read(at)
		plain := p.buf[:min(got, l.at-at)]
		n, _, _ := screen.Plain(plain) // a sequence at the end may be cut
		p.screen.Skip(plain[:n])
		if n == 0 {
			return // the log has changed: showing all of it loses nothing
		}
		at += uint64(n)
	}
	p.screen.Skip(nil)
	p.advance(l.at)
}
