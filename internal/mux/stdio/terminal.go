//go:build linux

package stdio

import (
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// Window is the payload of window-change, and a part of pty-req (RFC 4254, sections
// 6.2 and 6.7).
type Window struct{ Columns, Rows, Width, Height uint32 }

func (e *End) Window() Window {
	ws, err := unix.IoctlGetWinsize(e.fd, unix.TIOCGWINSZ)
	if err != nil {
		return Window{}
	}
	return Window{uint32(ws.Col), uint32(ws.Row), uint32(ws.Xpixel), uint32(ws.Ypixel)}
}

// characters and flags map the numbers of terminal modes in RFC 4254, section 8, and RFC 8160.
var characters = map[byte]int{
	1: unix.VINTR, 2: unix.VQUIT, 3: unix.VERASE, 4: unix.VKILL, 5: unix.VEOF, 6: unix.VEOL, 7: unix.VEOL2,
	8: unix.VSTART, 9: unix.VSTOP, 10: unix.VSUSP, 12: unix.VREPRINT, 13: unix.VWERASE, 14: unix.VLNEXT, 18: unix.VDISCARD,
}

var inputFlags = map[byte]uint32{
	30: unix.IGNPAR, 31: unix.PARMRK, 32: unix.INPCK, 33: unix.ISTRIP, 34: unix.INLCR, 35: unix.IGNCR, 36: unix.ICRNL,
	37: unix.IUCLC, 38: unix.IXON, 39: unix.IXANY, 40: unix.IXOFF, 41: unix.IMAXBEL, 42: unix.IUTF8,
}

var localFlags = map[byte]uint32{
	50: unix.ISIG, 51: unix.ICANON, 52: unix.XCASE, 53: unix.ECHO, 54: unix.ECHOE, 55: unix.ECHOK, 56: unix.ECHONL,
	57: unix.NOFLSH, 58: unix.TOSTOP, 59: unix.IEXTEN, 60: unix.ECHOCTL, 61: unix.ECHOKE, 62: unix.PENDIN,
}

var outputFlags = map[byte]uint32{
	70: unix.OPOST, 71: unix.OLCUC, 72: unix.ONLCR, 73: unix.OCRNL, 74: unix.ONOCR, 75: unix.ONLRET,
}

// Modes encodes the modes of a terminal.
func (e *End) Modes() []byte {
	var b []byte
	mode := func(number byte, value uint32) {
		b = append(b, ssh.Marshal(struct {
			Number byte
			Value  uint32
		}{number, value})...)
	}
	t, err := unix.IoctlGetTermios(e.fd, unix.TCGETS)
	if err != nil {
		return []byte{0}
	}
	for number, i := range characters {
		value := uint32(t.Cc[i])
		if value == 0 {
			value = 255 // none
		}
		mode(number, value)
	}
	for _, group := range []struct {
		flags map[byte]uint32
		set   uint32
	}{{inputFlags, t.Iflag}, {localFlags, t.Lflag}, {outputFlags, t.Oflag}} {
		for number, flag := range group.flags {
			mode(number, min(group.set&flag, 1))
		}
	}
	mode(128, t.Ispeed)
	mode(129, t.Ospeed)
	return append(b, 0)
}

// Escapes interprets escape sequences in typed text (ssh(1), ESCAPE CHARACTERS): two escape
// characters stand for one, and a dot after one ends the session.
type Escapes struct {
	Char    byte
	Command func(char, c byte) // called for sequences that do not end the session
	begun   bool               // within a line
	half    bool               // the escape character was the last one
}

// escapeCommands are the commands of ssh, except the two that read handles. Any other character is
// typed text.
const escapeCommands = "?B#&CRVv\x1a"

const (
	// EscapeHelp is for a terminal in raw mode.
	EscapeHelp = "%[1]c?\r\nAt the start of a line:\r\n" +
		" %[1]c.   end this session\r\n %[1]cB   send a break\r\n %[1]c%[1]c   type a %[1]c\r\n %[1]c?   show this\r\n"
	// BreakTime is the length of a break in milliseconds.
	BreakTime = 1000
)

// Read returns the part of b to send, and whether the session ends.
func (e *Escapes) Read(b []byte) (out []byte, end bool) {
	for _, c := range b {
		switch {
		case e.half && c == '.':
			return out, true
		case e.half && strings.IndexByte(escapeCommands, c) >= 0:
			e.Command(e.Char, c)
			e.half = false
			continue
		case e.half && c != e.Char:
			out = append(out, e.Char, c)
		case !e.half && !e.begun && c == e.Char:
			e.half = true
			continue
		default:
			out = append(out, c)
		}
		e.half, e.begun = false, c != '\r' && c != '\n'
	}
	return out, false
}

// Caret returns c in caret notation.
func Caret(c byte) string {
	if c < ' ' {
		return "^" + string(rune(c+'@'))
	}
	return string(rune(c))
}
