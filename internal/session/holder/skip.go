//go:build linux

package holder

import (
	"bytes"

	"keyway/internal/screen"
	"keyway/internal/session/wire"
)

// skipFrom is how far behind the display must be for it to be worth to look for what
// need not be shown.
const skipFrom = 1 << 20

// landing is a place in plain output that may be skipped to.
type landing struct {
	at    uint64 // right after CR LF
	lines int    // line feeds before it
	pen   uint64 // offset from which on the pen must be followed to know it
}

// skip passes over what would have left the screen and the history by the time of
// end, and returns up to where nothing more of that kind is to be found.
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

// survey reads on from where the display is, up to end or to something that is not
// plain.
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
		n, _, _ := screen.Plain(plain) // sequences at the end may be cut
		p.screen.Skip(plain[:n])
		if n == 0 {
			return // the log is not what it was: nothing is lost by showing all of it
		}
		at += uint64(n)
	}
	p.screen.Skip(nil)
	p.advance(l.at)
}
