package screen

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// Bounds on values that operating system commands set.
const (
	maxTitle  = 1024 // bytes
	maxTitles = 10   // pushed
	maxColor  = 64   // bytes
	maxCwd    = 2048 // bytes
)

// titles holds the window's title and the pushed ones.
type titles struct {
	title string
	stack []string
	lost  int // pushed before a full reset, which takes them from some terminals
}

// oscState holds values that operating system commands have set, except the title.
type oscState struct {
	cwd string // from OSC 7
	// colors are the parts of the palette that have been set; those from 256 on are OSC 10 to
	// 19.
	colors   map[int]string
	progress string // of OSC 9;4
}

const dynamicColors = 256 - 10

// Title returns the window's title.
func (s *Screen) Title() string { return s.titles.title }

// Cwd returns the working directory that the shell has reported, as a file URL, or the empty
// string.
func (s *Screen) Cwd() string { return s.state.cwd }

// osc executes an operating system command. Those without effect on the state (notifications,
// shell integration, the clipboard) are ignored.
func (s *Screen) osc(p []byte) {
	if !utf8.Valid(p) || hasC1(p) {
		return
	}
	s.askedOSC(p)
	head, rest, _ := bytes.Cut(p, []byte(";"))
	n, err := strconv.Atoi(string(head))
	if err != nil {
		if len(head) > 0 && (head[0] == 'P' || head[0] == 'R') { // the Linux console's palette
			s.residue.put(consoleColors, head[0] == 'P')
		}
		return
	}
	s.residueOSC(n, rest)
	switch {
	case n == 0 || n == 2:
		s.titles.title = string(rest[:min(len(rest), maxTitle)])
		for !utf8.ValidString(s.titles.title) {
			s.titles.title = s.titles.title[:len(s.titles.title)-1]
		}
	case n == 4:
		s.setPalette(rest)
	case n == 7 && len(rest) <= maxCwd:
		s.state.cwd = string(rest)
	case n == 8:
		s.setLink(rest)
	case n == 9 && bytes.HasPrefix(rest, []byte("4;")) && len(rest) <= 16:
		if s.state.progress = string(rest); rest[2] == '0' {
			s.state.progress = ""
		}
	case n >= 10 && n <= 19:
		s.setColors(n, rest)
	case n == 104:
		s.resetPalette(rest)
	case n >= 110 && n <= 119:
		delete(s.state.colors, n-100+dynamicColors)
	}
}

// hasC1 reports whether p contains a control character from U+0080 to U+009F, which end strings
// in some terminals.
func hasC1(p []byte) bool {
	for i, c := range p {
		if c == 0xc2 && i+1 < len(p) && p[i+1] < 0xa0 {
			return true
		}
	}
	return false
}

func (s *Screen) setColor(n int, value []byte) {
	if len(value) == 0 || len(value) > maxColor {
		return
	}
	if s.state.colors == nil {
		s.state.colors = map[int]string{}
	}
	s.state.colors[n] = string(value)
}

// setPalette reads pairs of a number and a colour; the colour ? is a question.
func (s *Screen) setPalette(rest []byte) {
	for len(rest) > 0 {
		var number, value []byte
		number, rest, _ = bytes.Cut(rest, []byte(";"))
		value, rest, _ = bytes.Cut(rest, []byte(";"))
		n, err := strconv.Atoi(string(number))
		switch {
		case err != nil || n < 0 || n > 255:
		case string(value) == "?":
			if known := s.state.colors[n]; known != "" {
				s.answer("\x1b]4;", n, ";"+known+"\x1b\\")
			}
		default:
			s.setColor(n, value)
		}
	}
}

// setColors sets colour n (text, background, cursor and so on). Further values set the colours
// after it.
func (s *Screen) setColors(n int, rest []byte) {
	for ; len(rest) > 0 && n <= 19; n++ {
		var value []byte
		value, rest, _ = bytes.Cut(rest, []byte(";"))
		if string(value) != "?" {
			s.setColor(n+dynamicColors, value)
		} else if known := s.state.colors[n+dynamicColors]; known != "" {
			s.answer("\x1b]", n, ";"+known+"\x1b\\")
		}
	}
}

func (s *Screen) resetPalette(rest []byte) {
	if len(rest) == 0 {
		for n := range 256 {
			delete(s.state.colors, n)
		}
		return
	}
	for number := range bytes.SplitSeq(rest, []byte(";")) {
		if n, err := strconv.Atoi(string(number)); err == nil && n < 256 {
			delete(s.state.colors, n)
		}
	}
}

func (s *Screen) setLink(rest []byte) {
	linkParams, target, ok := bytes.Cut(rest, []byte(";"))
	if !ok || len(rest) > maxLinkSize {
		return
	}
	s.penID = noID
	s.pen.link = 0
	if len(target) > 0 {
		s.pen.link = s.tables.link(link{string(linkParams), string(target)})
	}
}

// push and pop are the title stack.

func (t *titles) push() {
	if len(t.stack) == maxTitles {
		t.stack = append(t.stack[:0], t.stack[1:]...)
	}
	t.stack = append(t.stack, t.title)
}

func (t *titles) pop() {
	if n := len(t.stack); n > 0 {
		t.title = t.stack[n-1]
		t.stack = t.stack[:n-1]
	} else if t.lost > 0 {
		t.lost--
	}
}

// PushTitle appends bytes that save the terminal's title, until Undo restores it, and set
// another one. An empty title changes nothing.
func PushTitle(dst []byte, title string) []byte {
	dst = append(dst, "\x1b[22;0t"...)
	if title != "" {
		dst = appendOSC(dst, 2, title)
	}
	return dst
}

// window executes XTWINOPS. Only sizes and the title stack apply to a terminal without a
// window.
func (s *Screen) window(p *params) {
	switch p.get(0, 0) {
	case 18:
		s.answer("\x1b[8;", s.rows, ";", s.cols, "t")
	case 19:
		s.answer("\x1b[9;", s.rows, ";", s.cols, "t")
	case 22:
		if p.get(1, 0) != 1 {
			s.titles.push()
		}
	case 23:
		if p.get(1, 0) != 1 {
			s.titles.pop()
		}
	}
}

// append appends bytes that set the state in another terminal.
func (o *oscState) append(dst []byte) []byte {
	for n := range 256 + 10 {
		value, ok := o.colors[n]
		if !ok {
			continue
		}
		if n < 256 {
			dst = appendNumber(append(dst, "\x1b]4;"...), n, ";")
		} else {
			dst = appendNumber(append(dst, "\x1b]"...), n-dynamicColors, ";")
		}
		dst = append(append(dst, value...), "\x1b\\"...)
	}
	if o.cwd != "" {
		dst = appendOSC(dst, 7, o.cwd)
	}
	if o.progress != "" {
		dst = appendOSC(dst, 9, o.progress)
	}
	return dst
}

// undo appends bytes that restore a terminal's own colours.
func (o *oscState) undo(dst []byte) []byte {
	for n := range 256 + 10 {
		if _, ok := o.colors[n]; !ok {
			continue
		}
		if n < 256 {
			dst = appendNumber(append(dst, "\x1b]104;"...), n, "\x1b\\")
		} else {
			dst = appendNumber(append(dst, "\x1b]"...), n-dynamicColors+100, "\x1b\\")
		}
	}
	if o.progress != "" {
		dst = appendOSC(dst, 9, "4;0")
	}
	return dst
}

func appendOSC(dst []byte, n int, text string) []byte {
	dst = appendNumber(append(dst, "\x1b]"...), n, ";")
	return append(append(dst, text...), "\x1b\\"...)
}
