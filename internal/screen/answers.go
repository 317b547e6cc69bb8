package screen

import "strconv"

// maxAnswers bounds the bytes of pending answers; further questions go unanswered.
const maxAnswers = 4096

// Answers returns a terminal's answers to the questions that were written since the last call,
// or nil. A caller with a real terminal attached discards them, because that terminal answers
// by itself.
func (s *Screen) Answers() []byte {
	a := s.answers
	s.answers = nil
	return a
}

// answer appends strings and numbers to the answers, all or none.
func (s *Screen) answer(parts ...any) {
	start := len(s.answers)
	for _, part := range parts {
		switch v := part.(type) {
		case string:
			s.answers = append(s.answers, v...)
		case int:
			s.answers = strconv.AppendInt(s.answers, int64(v), 10)
		}
	}
	if len(s.answers) > maxAnswers {
		s.answers = s.answers[:start]
	}
}

// answerIdentity answers the device attributes. This is a VT220 with colours. Its level,
// xterm's, tells programs that it supports the mouse in SGR format.
func (s *Screen) answerIdentity(private byte) {
	switch private {
	case 0:
		s.answer("\x1b[?62;22c")
	case '>':
		s.answer("\x1b[>1;277;0c")
	case '=':
		s.answer("\x1bP!|00000000\x1b\\")
	}
}

func (s *Screen) answerName() {
	if s.options.Name != "" {
		s.answer("\x1bP>|" + s.options.Name + "\x1b\\")
	}
}

// answerStatus answers DSR.
func (s *Screen) answerStatus(private byte, what int) {
	switch what {
	case 5:
		if private == 0 {
			s.answer("\x1b[0n")
		}
	case 6:
		row, col := s.y-s.originY()+1, s.x-s.originX()+1
		if private == 0 {
			s.answer("\x1b[", row, ";", col, "R")
		} else {
			s.answer("\x1b[?", row, ";", col, ";1R")
		}
	case 15: // printer: none
		s.answer("\x1b[?13n")
	case 25: // user-defined keys: locked
		s.answer("\x1b[?21n")
	case 26: // keyboard: North American
		s.answer("\x1b[?27;1;0;0n")
	}
}

// answerMode answers DECRQM.
func (s *Screen) answerMode(private byte, number int) {
	const unknown, set, reset = 0, 1, 2
	value := unknown
	state := func(on bool) {
		if value = reset; on {
			value = set
		}
	}
	if private == 0 {
		switch uint16(number) {
		case modeTable[insertMode].number:
			state(s.modes.on(insertMode))
		case modeTable[newLine].number:
			state(s.modes.on(newLine))
		}
		s.answer("\x1b[", number, ";", value, "$y")
		return
	}
	switch number {
	case 47, 1047, 1049:
		state(s.Alternate())
	case 1048:
		state(s.g.saved.set)
	default:
		if m, ok := findMode(uint16(number)); ok {
			state(s.modes.on(m) && (bit(m)&mouseReports == 0 || s.modes.mouse == m))
		}
	}
	s.answer("\x1b[?", number, ";", value, "$y")
}

// ourDCS reports whether a device control string is a question that this package answers.
func ourDCS(p []byte) bool { return string(p[:2]) == "$q" || string(p[:2]) == "+q" }

// dcs answers DECRQSS. It answers XTGETTCAP with a no: programs then rely on $TERM.
func (s *Screen) dcs(p []byte) {
	if len(p) < 2 || !ourDCS(p) {
		return
	}
	s.askedDCS(p)
	if p[0] == '+' {
		s.answer("\x1bP0+r\x1b\\")
		return
	}
	var value []byte
	switch what := string(p[2:]); what {
	case "m":
		y := s.pen
		y.link = 0
		value = append(value, '0', ';')
		value = appendChanges(value, style{}, y)
		value = value[:len(value)-1]
	case "r":
		value = appendNumber(value, s.margin.top+1, ";")
		value = appendNumber(value, s.margin.bottom+1, "")
	case "s":
		value = appendNumber(value, s.margin.left+1, ";")
		value = appendNumber(value, s.margin.right+1, "")
	case " q":
		value = appendNumber(value, int(s.modes.shape), "")
	case `"p`:
		value = append(value, "62;1"...)
	default:
		s.answer("\x1bP0$r\x1b\\")
		return
	}
	s.answer("\x1bP1$r" + string(value) + string(p[2:]) + "\x1b\\")
}
