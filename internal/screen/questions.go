package screen

import "bytes"

// Answer is the form in which a terminal answers a program: the last character of a control
// sequence, or the character after ESC that begins a string.
type Answer uint8

// The forms of answers.
const (
	AnswerAttributes Answer = iota // CSI … c
	AnswerStatus                   // CSI … n
	AnswerPosition                 // CSI … R
	AnswerMode                     // CSI … $ y
	AnswerWindow                   // CSI … t
	AnswerKeyboard                 // CSI ? … u
	AnswerParameters               // CSI … x
	AnswerKeys                     // CSI > … m
	AnswerGraphics                 // CSI ? … S
	AnswerDevice                   // DCS
	AnswerCommand                  // OSC
	AnswerProgram                  // APC
	Answers                        // how many forms there are
)

// Questions counts the questions that a program has asked its terminal, by the form of their
// answers. For some, such as those about several colours, the count may exceed the number of
// answers.
type Questions [Answers]uint32

// Questions returns the questions that have been written so far.
func (s *Screen) Questions() Questions { return s.questions }

// News are the reports that a terminal was told to send by itself.
type News struct {
	Focus  bool // CSI I and CSI O
	Colors bool // CSI ? 997 ; … n
	Size   bool // CSI 48 ; … t
}

// News returns the reports that a terminal that shows this screen sends by itself.
func (s *Screen) News() News {
	return News{Focus: s.modes.on(focusEvents), Colors: s.modes.on(colorScheme), Size: s.modes.on(resizeEvents)}
}

func (s *Screen) asked(a Answer, n int) { s.questions[a] += uint32(n) }

// askedCSI counts a control sequence, if it is a question.
func (s *Screen) askedCSI(final byte) {
	q := &s.parser
	what := q.params.get(0, 0)
	switch string([]byte{q.private, q.inter, final}) {
	case "\x00\x00c", ">\x00c":
		s.asked(AnswerAttributes, 1)
	case "=\x00c", ">\x00q", "\x00*y", "\x00$w", "\x00$u":
		s.asked(AnswerDevice, 1)
	case "\x00\x00n", "?\x00n":
		s.askedStatus(what)
	case "?$p", "\x00$p":
		s.asked(AnswerMode, 1)
	case "\x00\x00t":
		switch what {
		case 11, 13, 14, 15, 16, 18, 19:
			s.asked(AnswerWindow, 1)
		case 20, 21:
			s.asked(AnswerCommand, 1)
		}
	case "?\x00u":
		s.asked(AnswerKeyboard, 1)
	case "\x00\x00x":
		s.asked(AnswerParameters, 1)
	case "?\x00m":
		s.asked(AnswerKeys, 1)
	case "?\x00S":
		s.asked(AnswerGraphics, 1)
	}
}

// askedStatus counts DSR.
func (s *Screen) askedStatus(what int) {
	switch what {
	case 6:
		s.asked(AnswerPosition, 1)
	case 63: // a checksum of macros
		s.asked(AnswerDevice, 1)
	default:
		s.asked(AnswerStatus, 1)
	}
}

// askedOSC counts the questions in an operating system command: a value that is or ends in a
// question mark, or a report requested from iTerm2.
func (s *Screen) askedOSC(p []byte) {
	if bytes.HasPrefix(p, []byte("1337;Report")) {
		s.asked(AnswerCommand, 1)
		return
	}
	for value := range bytes.SplitSeq(p, []byte(";")) {
		if string(value) == "?" || bytes.HasSuffix(value, []byte("=?")) {
			s.asked(AnswerCommand, 1)
		}
	}
}

// askedDCS counts the questions in a device control string: DECRQSS is one,
// XTGETTCAP one for each name.
func (s *Screen) askedDCS(p []byte) {
	s.asked(AnswerDevice, 1+bytes.Count(p, []byte(";")))
}
