package screen

import "strconv"

// attrs in the order of their numbers in SGR, 1 to 9 and 53.
var attrNumbers = [...]struct {
	attr attr
	on   uint8
	off  uint8
}{
	{bold, 1, 22}, {faint, 2, 22}, {italic, 3, 23}, {blink, 5, 25}, {fastBlink, 6, 25},
	{inverse, 7, 27}, {hidden, 8, 28}, {struck, 9, 29}, {overlined, 53, 55},
}

// sgr changes the pen.
func (s *Screen) sgr(p *params) {
	s.penID = noID
	if p.n == 0 {
		s.pen = style{link: s.pen.link}
		return
	}
	for i := 0; i < p.n; {
		i += s.sgrOne(p, i)
	}
}

// sgrOne applies the parameter at i, and returns the number of parameters that it used.
func (s *Screen) sgrOne(p *params, i int) int {
	pen := &s.pen
	sub := p.subs(i) // including its parts
	switch v := p.v[i]; {
	case v == 0:
		*pen = style{link: pen.link}
	case v == 4 && sub > 1:
		pen.underline = uint8(min(p.v[i+1], 5))
	case v == 4:
		pen.underline = 1
	case v == 21:
		pen.underline = 2
	case v == 24:
		pen.underline = 0
	case v >= 30 && v <= 37:
		pen.fg = palette | color(v-30)
	case v >= 40 && v <= 47:
		pen.bg = palette | color(v-40)
	case v >= 90 && v <= 97:
		pen.fg = palette | color(v-90+8)
	case v >= 100 && v <= 107:
		pen.bg = palette | color(v-100+8)
	case v == 39:
		pen.fg = 0
	case v == 49:
		pen.bg = 0
	case v == 59:
		pen.line = 0
	case v == 38:
		return sgrColor(p, i, sub, &pen.fg)
	case v == 48:
		return sgrColor(p, i, sub, &pen.bg)
	case v == 58:
		return sgrColor(p, i, sub, &pen.line)
	default:
		for _, a := range attrNumbers {
			switch v {
			case uint16(a.on):
				pen.attrs |= a.attr
			case uint16(a.off):
				pen.attrs &^= a.attr
			}
		}
	}
	return sub
}

// sgrColor reads 5;n and 2;r;g;b, with semicolons or colons. With colons, it also accepts a
// colour space.
func sgrColor(p *params, i, sub int, c *color) int {
	colons := sub > 1
	rest := p.v[i+1 : p.n]
	if colons {
		rest = p.v[i+1 : i+sub]
	}
	if len(rest) == 0 {
		return sub
	}
	switch {
	case rest[0] == 5 && len(rest) >= 2:
		if rest[1] < 256 {
			*c = palette | color(rest[1])
		}
		return max(sub, 3)
	case rest[0] == 2 && len(rest) >= 4:
		v := rest[1:4]
		if colons && len(rest) >= 5 {
			v = rest[2:5]
		}
		if v[0] < 256 && v[1] < 256 && v[2] < 256 {
			*c = rgb | color(v[0])<<16 | color(v[1])<<8 | color(v[2])
		}
		return max(sub, 5)
	}
	if colons {
		return sub
	}
	return p.n - i // the rest is ambiguous
}

// appendStyle appends bytes that change a terminal's style from old to y.
func (t *tables) appendStyle(dst []byte, old, y style) []byte {
	if old.link != y.link {
		dst = t.appendLink(dst, y.link)
		old.link = y.link
	}
	if old == y {
		return dst
	}
	start := len(dst)
	dst = append(dst, "\x1b["...)
	if reset := (style{link: y.link}); needsReset(old, y) {
		if y == reset {
			return append(dst, 'm')
		}
		dst = append(dst, "0;"...)
		old = reset
	}
	dst = appendChanges(dst, old, y)
	if len(dst) == start+2 {
		return dst[:start]
	}
	dst[len(dst)-1] = 'm'
	return dst
}

// sequence is the bytes for a change of style.
type sequence struct {
	from, to uint32 // both 0: nothing yet
	n        uint8
	text     [40]byte
}

// appendSequence is appendStyle for styles that are given by number. The same changes occur
// again and again, so it caches them.
func (t *tables) appendSequence(dst []byte, from, to uint32) []byte {
	if from == to {
		return dst
	}
	q := &t.sequences[(from*31+to)%uint32(len(t.sequences))]
	if q.from == from && q.to == to {
		return append(dst, q.text[:q.n]...)
	}
	start := len(dst)
	dst = t.appendStyle(dst, t.styles[from], t.styles[to])
	if n := len(dst) - start; n <= len(q.text) {
		q.from, q.to, q.n = from, to, uint8(n)
		copy(q.text[:], dst[start:])
	}
	return dst
}

// needsReset reports whether the change to y switches something off.
func needsReset(old, y style) bool {
	return old.attrs&^y.attrs != 0 ||
		old.fg != 0 && y.fg == 0 || old.bg != 0 && y.bg == 0 || old.line != 0 && y.line == 0 ||
		old.underline != 0 && y.underline == 0
}

// appendChanges appends the parameters that y has beyond old, each followed by a semicolon.
func appendChanges(dst []byte, old, y style) []byte {
	for _, a := range attrNumbers {
		if y.attrs&^old.attrs&a.attr != 0 {
			dst = append(strconv.AppendUint(dst, uint64(a.on), 10), ';')
		}
	}
	if y.underline != old.underline {
		dst = append(dst, '4')
		if y.underline > 1 {
			dst = append(dst, ':', '0'+y.underline)
		}
		dst = append(dst, ';')
	}
	if y.fg != old.fg {
		dst = appendColor(dst, y.fg, 30)
	}
	if y.bg != old.bg {
		dst = appendColor(dst, y.bg, 40)
	}
	if y.line != old.line {
		dst = appendColor(dst, y.line, 50)
	}
	return dst
}

// appendColor appends the parameters of a colour; base is 30, 40 or 50. Colours of underlines
// are written with colons: terminals that do not support them would take the numbers for other
// parameters.
func appendColor(dst []byte, c color, base uint64) []byte {
	n := uint64(c &^ (palette | rgb))
	sep := byte(';')
	switch {
	case base == 50:
		sep = ':'
	case c&rgb == 0 && n < 8:
		return append(strconv.AppendUint(dst, base+n, 10), ';')
	case c&rgb == 0 && n < 16:
		return append(strconv.AppendUint(dst, base+60+n-8, 10), ';')
	}
	dst = append(strconv.AppendUint(dst, base+8, 10), sep)
	if c&rgb == 0 {
		return append(strconv.AppendUint(append(dst, '5', sep), n, 10), ';')
	}
	dst = append(dst, '2', sep)
	if sep == ':' {
		dst = append(dst, sep) // the colour space
	}
	dst = append(strconv.AppendUint(dst, n>>16, 10), sep)
	dst = append(strconv.AppendUint(dst, n>>8&255, 10), sep)
	return append(strconv.AppendUint(dst, n&255, 10), ';')
}

func (t *tables) appendLink(dst []byte, id uint16) []byte {
	l := t.links[id]
	dst = append(dst, "\x1b]8;"...)
	dst = append(dst, l.params...)
	dst = append(dst, ';')
	dst = append(dst, l.target...)
	return append(dst, "\x1b\\"...)
}
