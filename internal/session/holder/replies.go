//go:build linux

package holder

import (
	"bytes"
	"time"

	"keyway/internal/screen"
)

// A program's question reaches all terminals that show it, and all of them answer. Only one answer
// is for the program, and no answer counts as typing. All other input comes from the user.

// Bounds on an answer.
const (
	maxAnswer = 4 << 10 // bytes; a control sequence is much shorter
	// answerWithin is the time after a question in which a terminal may answer it.
	answerWithin = 10 * time.Second
	// heldFor is the time that the start of an answer waits for the rest. A terminal writes an
	// answer in one piece, so that only a buffer on its way can cut it.
	heldFor = 100 * time.Millisecond
)

const esc = 0x1b

// asked are the questions that the job's terminal has been asked.
type asked struct {
	questions screen.Questions
	last      [screen.Answers]time.Time // time of the last question of each form
	news      screen.News
}

// note copies the state of a screen.
func (a *asked) note(s *screen.Screen, now time.Time) {
	a.news = s.News()
	questions := s.Questions()
	for form, n := range questions {
		if n != a.questions[form] {
			a.last[form] = now
		}
	}
	a.questions = questions
}

// replies separates a terminal's own answers from a person's input. The zero value has no open
// question, so no input counts as an answer.
type replies struct {
	asked    asked
	answered screen.Questions // those of asked that this terminal was not shown or has answered
	held     []byte           // the start of an answer
}

// begin notes that the terminal is shown no question asked until now.
func (r *replies) begin(a asked) { r.asked, r.answered = a, a.questions }

// ask notes the questions asked until now. Questions that are too old are dropped.
func (r *replies) ask(a asked, now time.Time) {
	r.asked = a
	for form := range a.questions {
		if now.Sub(a.last[form]) > answerWithin {
			r.answered[form] = a.questions[form]
		}
	}
}

func (r *replies) expects(form screen.Answer) bool {
	return r.asked.questions[form] != r.answered[form]
}

// typed returns p without the terminal's own answers. It keeps an incomplete answer back.
func (r *replies) typed(p []byte) []byte {
	if len(r.held) == 0 && bytes.IndexByte(p, esc) < 0 {
		return p
	}
	p = append(r.held, p...)
	r.held = nil
	typed := make([]byte, 0, len(p))
	for {
		at := bytes.IndexByte(p, esc)
		if at < 0 {
			return append(typed, p...)
		}
		typed, p = append(typed, p[:at]...), p[at:]
		switch n, is := r.answer(p); is {
		case whole:
			p = p[n:]
		case begun:
			r.held = append([]byte(nil), p...)
			return typed
		default:
			typed, p = append(typed, p[0]), p[1:]
		}
	}
}

// flush returns the bytes that are kept back: they were typed.
func (r *replies) flush() []byte {
	p := r.held
	r.held = nil
	return p
}

// progress tells whether an answer has begun or is whole.
type progress int

const (
	none progress = iota
	begun
	whole
)

// answer measures the answer at the start of p, which is an ESC, and counts it. Only an expected
// answer is one. A key alone never begins an answer: ESC, and Alt with [, P, ] or _.
func (r *replies) answer(p []byte) (n int, is progress) {
	if len(p) < 3 {
		return 0, none
	}
	var form screen.Answer
	switch p[1] {
	case '[':
		return r.sequence(p)
	case 'P':
		form = screen.AnswerDevice
	case ']':
		form = screen.AnswerCommand
	case '_':
		form = screen.AnswerProgram
	default:
		return 0, none
	}
	if !r.expects(form) || !beginsAnswer(form, p[2]) {
		return 0, none
	}
	if n, is = stringAt(p, form == screen.AnswerCommand); is == whole {
		r.answered[form]++
	}
	return n, is
}

// beginsAnswer reports whether a string that answers form can begin with c: DECRPSS, XTGETTCAP and
// checksums with a digit; DA3 with !; XTVERSION with >; colours and the clipboard with a number;
// titles with l or L; kitty's graphics with G.
func beginsAnswer(form screen.Answer, c byte) bool {
	digit := c >= '0' && c <= '9'
	switch form {
	case screen.AnswerDevice:
		return digit || c == '!' || c == '>'
	case screen.AnswerCommand:
		return digit || c == 'l' || c == 'L'
	}
	return c == 'G'
}

// stringAt measures a string that ends with ST or, if bell is set, with BEL.
func stringAt(p []byte, bell bool) (n int, is progress) {
	for i, c := range p[2:min(len(p), maxAnswer)] {
		switch n = i + 3; {
		case c == 0x07 && bell:
			return n, whole
		case c == esc && n == len(p):
			return 0, begun
		case c == esc && p[n] == '\\':
			return n + 1, whole
		case c < 0x20: // a key: no answer contains one
			return 0, none
		}
	}
	if len(p) < maxAnswer {
		return 0, begun
	}
	return 0, none
}

// sequence measures the control sequence at the start of p, if it is an answer or may
// become one.
func (r *replies) sequence(p []byte) (n int, is progress) {
	n, complete := screen.Sequence(p)
	switch {
	case complete && n > 0:
		if r.takes(p[2:n-1], p[n-1]) {
			return n, whole
		}
	case !complete && n < screen.MaxSequence && r.expectsSequence():
		return 0, begun
	}
	return 0, none
}

// expectsSequence reports whether a control sequence may be an answer now.
func (r *replies) expectsSequence() bool {
	for form := range screen.AnswerDevice {
		if r.expects(form) {
			return true
		}
	}
	return r.asked.news != screen.News{}
}

// takes reports whether a control sequence is an expected answer, or a report that the terminal was
// told to send.
func (r *replies) takes(params []byte, final byte) bool {
	news := r.asked.news
	switch {
	case final == 'I' || final == 'O':
		return news.Focus && len(params) == 0
	case final == 'n' && news.Colors && bytes.HasPrefix(params, []byte("?997;")),
		final == 't' && news.Size && bytes.HasPrefix(params, []byte("48;")):
		return true
	}
	form, ok := screen.FormOf(params, final)
	if !ok || !r.expects(form) {
		return false
	}
	r.answered[form]++
	return true
}
