package screen

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// behaviours lists the contents of a terminal of 10 columns and 5 rows after some bytes, in the
// manner of vttest and esctest. Rows are divided by |.
var behaviours = []struct {
	name, in, rows string
	x, y           int
	only           bool // tmux does something else, or nothing
}{
	// Cursor
	{name: "CUP", in: "\x1b[3;4HX", rows: "||   X", x: 4, y: 2},
	{name: "CUP without parameters", in: "abc\x1b[HX", rows: "Xbc", x: 1, y: 0},
	{name: "CUP beyond", in: "\x1b[99;99HX", rows: "||||         X", x: 9, y: 4},
	{name: "HVP", in: "\x1b[2;2fX", rows: "| X", x: 2, y: 1},
	{name: "CUU stops at the top", in: "\x1b[3;3H\x1b[9AX", rows: "  X", x: 3, y: 0},
	{name: "CUD stops at the bottom", in: "\x1b[9BX", rows: "||||X", x: 1, y: 4},
	{name: "CUF stops at the right", in: "\x1b[99CX", rows: "         X", x: 9, y: 0},
	{name: "CUB stops at the left", in: "abc\x1b[9DX", rows: "Xbc", x: 1, y: 0},
	{name: "CNL and CPL", in: "ab\x1b[2EX\x1b[FY", rows: "ab|Y|X", x: 1, y: 1},
	{name: "CHA and HPA", in: "abc\x1b[5GX\x1b[8`Y", rows: "abc X  Y", x: 8, y: 0},
	{name: "VPA and VPR", in: "a\x1b[3dX\x1b[eY", rows: "a|| X|  Y", x: 3, y: 3, only: true},
	{name: "HPR", in: "a\x1b[3aX", rows: "a   X", x: 5, y: 0, only: true},
	{name: "zero is one", in: "\x1b[3;3H\x1b[0A\x1b[0CX", rows: "|   X", x: 4, y: 1},
	{name: "BS", in: "ab\b\bX", rows: "Xb", x: 1, y: 0},
	{name: "CR LF VT FF", in: "a\r\nb\v\fc", rows: "a|b|| c", x: 2, y: 3},
	{name: "IND RI NEL", in: "a\x1bDb\x1bMc\x1bEd", rows: "a c|db", x: 1, y: 1},
	{name: "a control in a sequence", in: "ab\x1b[\r1CX", rows: "aX", x: 2, y: 0},
	{name: "CAN ends a sequence", in: "a\x1b[3\x18Cb", rows: "aCb", x: 3, y: 0},
	{name: "ESC begins a new sequence", in: "a\x1b[3\x1b[Cb", rows: "a b", x: 3, y: 0},
	{name: "too many parameters", in: "\x1b[" + strings.Repeat("1;", 40) + "1Hx", rows: "x", x: 1, y: 0},
	{name: "unknown sequences", in: "a\x1b[5yb\x1b(%c\x1b[?1;2zd\x1b[>5te\x1b[1$xf", rows: "abdef", x: 5, y: 0, only: true},

	// Wrapping
	{name: "wrap", in: "0123456789X", rows: "0123456789|X", x: 1, y: 1},
	{name: "pending wrap", in: "0123456789", rows: "0123456789", x: 9, y: 0, only: true},
	{name: "CR after pending wrap", in: "0123456789\rX", rows: "X123456789", x: 1, y: 0},
	{name: "a movement ends pending wrap", in: "0123456789\x1b[DX", rows: "01234567X9", x: 9, y: 0, only: true},
	{name: "no wrap", in: "\x1b[?7l0123456789XY", rows: "012345678Y", x: 9, y: 0, only: true},
	{name: "wrap scrolls", in: "\x1b[5;1H0123456789X", rows: "|||0123456789|X", x: 1, y: 4},
	{name: "reverse wrap", in: "\x1b[?45h0123456789ab\b\b\bX", rows: "012345678X|ab", x: 9, y: 0, only: true},
	{name: "wide at the edge", in: "012345678世", rows: "012345678|世", x: 2, y: 1, only: true},

	// Erasing
	{name: "EL", in: "abcdefgh\x1b[4G\x1b[K", rows: "abc", x: 3, y: 0},
	{name: "EL after pending wrap", in: "0123456789\x1b[K", rows: "0123456789", x: 9, y: 0, only: true},
	{name: "EL keeps pending wrap", in: "0123456789\x1b[KX", rows: "0123456789|X", x: 1, y: 1},
	{name: "ED after pending wrap", in: "a\r\nb\x1b[1;1H0123456789\x1b[JX", rows: "0123456789|X", x: 1, y: 1},
	{name: "EL in the last column without wrap", in: "\x1b[?7l0123456789\x1b[K", rows: "012345678", x: 9, y: 0},
	{name: "EL 1", in: "abcdefgh\x1b[4G\x1b[1K", rows: "    efgh", x: 3, y: 0},
	{name: "EL 2", in: "abcdefgh\x1b[4G\x1b[2K", rows: "", x: 3, y: 0},
	{name: "ED", in: "aaa\r\nbbb\r\nccc\x1b[2;2H\x1b[J", rows: "aaa|b", x: 1, y: 1},
	{name: "ED 1", in: "aaa\r\nbbb\r\nccc\x1b[2;2H\x1b[1J", rows: "|  b|ccc", x: 1, y: 1},
	{name: "ED 2", in: "aaa\r\nbbb\x1b[2J", rows: "", x: 3, y: 1},
	{name: "ECH", in: "abcdefgh\x1b[3G\x1b[3X", rows: "ab   fgh", x: 2, y: 0},
	{name: "selective erase", in: "abc\x1b[?2Jd\x1b[?Ke", rows: "   de", x: 5, y: 0, only: true},
	{name: "erasing half of a wide character", in: "世界\x1b[2G\x1b[X", rows: "  界", x: 1, y: 0, only: true},
	{name: "printing over half of one", in: "世界\x1b[2GX", rows: " X界", x: 2, y: 0, only: true},
	{name: "over its first half", in: "世界\x1b[GX", rows: "X 界", x: 1, y: 0},
	{name: "DECALN", in: "\x1b#8", rows: strings.TrimSuffix(strings.Repeat("EEEEEEEEEE|", 5), "|"), x: 0, y: 0},

	// Editing
	{name: "ICH", in: "abcdef\x1b[3G\x1b[2@X", rows: "abX cdef", x: 3, y: 0},
	{name: "ICH pushes out", in: "0123456789\x1b[G\x1b[3@", rows: "   0123456", x: 0, y: 0},
	{name: "DCH", in: "abcdef\x1b[3G\x1b[2P", rows: "abef", x: 2, y: 0},
	{name: "DCH of half a wide character", in: "a世b\x1b[2G\x1b[P", rows: "a b", x: 1, y: 0, only: true},
	{name: "IL", in: "a\r\nb\r\nc\x1b[2;1H\x1b[LX", rows: "a|X|b|c", x: 1, y: 1},
	{name: "DL", in: "a\r\nb\r\nc\x1b[1;1H\x1b[2M", rows: "c", x: 0, y: 0},
	{name: "IRM", in: "abc\x1b[G\x1b[4hXY\x1b[4lZ", rows: "XYZbc", x: 3, y: 0},
	{name: "REP", in: "ab\x1b[3bc", rows: "abbbbc", x: 6, y: 0},
	{name: "REP only after a character", in: "ab\x1b[C\x1b[3bc", rows: "ab c", x: 4, y: 0},

	// Scrolling
	{name: "SU", in: "a\r\nb\r\nc\x1b[2S", rows: "c", x: 1, y: 2},
	{name: "SD", in: "a\r\nb\x1b[2T", rows: "||a|b", x: 1, y: 1},
	{name: "line feed scrolls", in: "a\r\nb\r\nc\r\nd\r\ne\r\nf", rows: "b|c|d|e|f", x: 1, y: 4},
	{name: "RI scrolls", in: "a\r\nb\x1b[H\x1bM", rows: "|a|b", x: 0, y: 0},
	{name: "margins", in: "a\r\nb\r\nc\r\nd\r\ne\x1b[2;4r\x1b[4;1H\nX", rows: "a|c|d|X|e", x: 1, y: 3},
	{name: "margins put the cursor home", in: "abc\x1b[2;4rX", rows: "Xbc", x: 1, y: 0},
	{name: "margins the wrong way round", in: "abc\x1b[4;2rX", rows: "abcX", x: 4, y: 0},
	{name: "below the margins", in: "a\x1b[1;3r\x1b[5;1H\nX", rows: "a||||X", x: 1, y: 4},
	{name: "CUU stops at the margin", in: "\x1b[2;4r\x1b[3;1H\x1b[9AX", rows: "|X", x: 1, y: 1},
	{name: "CUD stops at the margin", in: "\x1b[2;4r\x1b[3;1H\x1b[9BX", rows: "|||X", x: 1, y: 3},
	{name: "IL within margins", in: "a\r\nb\r\nc\r\nd\r\ne\x1b[2;4r\x1b[2;1H\x1b[L", rows: "a||b|c|e", x: 0, y: 1},
	{name: "IL outside of margins", in: "a\r\nb\r\nc\x1b[2;3r\x1b[1;1H\x1b[L", rows: "a|b|c", x: 0, y: 0, only: true},
	{name: "RI within margins", in: "a\r\nb\r\nc\r\nd\x1b[2;3r\x1b[2;1H\x1bM", rows: "a||b|d", x: 0, y: 1},
	{name: "origin", in: "\x1b[2;4r\x1b[?6hX\x1b[9;1HY", rows: "|X||Y", x: 1, y: 3},

	// Side margins
	{name: "wrap within side margins", in: "\x1b[?69h\x1b[3;6s\x1b[1;3Habcdef", rows: "  abcd|  ef", x: 4, y: 1, only: true},
	{name: "CR within side margins", in: "\x1b[?69h\x1b[3;6s\x1b[1;4HX\rY", rows: "  YX", x: 3, y: 0, only: true},
	{name: "scrolling within side margins", in: "0000000000\r\n1111111111\r\n2222222222\x1b[?69h\x1b[3;6s\x1b[S", rows: "0011110000|1122221111|22    2222", x: 0, y: 0, only: true},
	{name: "SD within side margins", in: "0000000000\r\n1111111111\x1b[?69h\x1b[3;6s\x1b[T", rows: "00    0000|1100001111|  1111", x: 0, y: 0, only: true},
	{name: "DCH within side margins", in: "0123456789\x1b[?69h\x1b[3;6s\x1b[1;4H\x1b[2P", rows: "0125  6789", x: 3, y: 0, only: true},
	{name: "origin within side margins", in: "\x1b[?69h\x1b[3;6s\x1b[2;4r\x1b[?6h\x1b[1;1HX", rows: "|  X", x: 3, y: 1, only: true},
	{name: "side margins go with their mode", in: "\x1b[?69h\x1b[3;6s\x1b[?69l\x1b[1;1Habcdefgh", rows: "abcdefgh", x: 8, y: 0, only: true},
	{name: "CSI s saves without the mode", in: "ab\x1b[s\x1b[3;3HX\x1b[uY", rows: "abY||  X", x: 3, y: 0},
	{name: "DECIC", in: "abcd\r\nefgh\x1b[1;2H\x1b[2'}", rows: "a  bcd|e  fgh", x: 1, y: 0, only: true},
	{name: "DECDC", in: "abcd\r\nefgh\x1b[1;2H\x1b[2'~", rows: "ad|eh", x: 1, y: 0, only: true},
	{name: "DECBI and DECFI", in: "abc\x1b[1;1H\x1b6\x1b[1;10H\x1b9", rows: "abc", x: 9, y: 0, only: true},
	{name: "SL and SR", in: "abc\x1b[2 @d\x1b[ A", rows: " c  d", x: 4, y: 0, only: true},

	// Tab stops
	{name: "HT", in: "a\tX", rows: "a       X", x: 9, y: 0},
	{name: "HT stops at the edge", in: "\t\t\tX", rows: "         X", x: 9, y: 0},
	{name: "HTS and TBC", in: "\x1b[3g\x1b[4G\x1bH\r\tX\tY", rows: "   X     Y", x: 9, y: 0},
	{name: "TBC of one", in: "\x1b[9G\x1b[g\r\tX", rows: "         X", x: 9, y: 0},
	{name: "CHT and CBT", in: "\x1b[3g\x1b[3G\x1bH\x1b[6G\x1bH\r\x1b[2IX\x1b[2ZY", rows: "  Y  X", x: 3, y: 0, only: true},

	// Saving
	{name: "DECSC", in: "ab\x1b7\x1b[3;3HX\x1b8Y", rows: "abY||  X", x: 3, y: 0},
	{name: "DECRC without DECSC", in: "ab\x1b8X", rows: "Xb", x: 1, y: 0},
	{name: "DECSC saves the character set", in: "\x1b(0\x1b7\x1b(B\x1b8q", rows: "─", x: 1, y: 0},

	// Character sets
	{name: "line drawing", in: "\x1b(0lqk\x1b(Bq", rows: "┌─┐q", x: 4, y: 0},
	{name: "SO and SI", in: "\x1b)0\x0eq\x0fq", rows: "─q", x: 2, y: 0},
	{name: "single shift", in: "\x1b*0\x1bNqq", rows: "─q", x: 2, y: 0, only: true},
	{name: "locking shift", in: "\x1b+0\x1boq", rows: "─", x: 1, y: 0, only: true},
	{name: "British", in: "\x1b(A#", rows: "£", x: 1, y: 0, only: true},

	// Unicode
	{name: "wide", in: "世x", rows: "世x", x: 3, y: 0},
	{name: "combining", in: "e\u0301x", rows: "e\u0301x", x: 2, y: 0},
	{name: "combining at pending wrap", in: "012345678e\u0301x", rows: "012345678e\u0301|x", x: 1, y: 1},
	{name: "combining alone", in: "\u0301x", rows: "x", x: 1, y: 0, only: true},
	{name: "flag", in: "🇩🇪x", rows: "🇩🇪x", x: 3, y: 0, only: true},
	{name: "two flags", in: "🇩🇪🇫🇷x", rows: "🇩🇪🇫🇷x", x: 5, y: 0, only: true},
	{name: "half a flag at the edge", in: "012345678🇩🇪", rows: "012345678🇩|🇪", x: 1, y: 1, only: true},
	{name: "family", in: "👨‍👩‍👧x", rows: "👨‍👩‍👧x", x: 3, y: 0, only: true},
	{name: "colour of skin", in: "👍🏽x", rows: "👍🏽x", x: 3, y: 0, only: true},
	{name: "emoji by variant", in: "❤\ufe0fx", rows: "❤\ufe0fx", x: 3, y: 0, only: true},
	{name: "keycap", in: "1\ufe0f\u20e3x", rows: "1\ufe0f\u20e3x", x: 3, y: 0, only: true},
	{name: "no emoji by variant", in: "a\ufe0fx", rows: "a\ufe0fx", x: 2, y: 0, only: true},
	{name: "not UTF-8", in: "a\xffb\xc3(", rows: "a�b�(", x: 5, y: 0, only: true},
	{name: "cut short", in: "a\xe4\xb8b", rows: "a��b", x: 4, y: 0, only: true},
	{name: "zero width space", in: "a\u200bb", rows: "a\u200bb", x: 2, y: 0, only: true},
	{name: "C1 as UTF-8", in: "a\u0085b\u009b2Cc", rows: "ab2Cc", x: 5, y: 0, only: true},

	// The alternate screen
	{name: "1049", in: "abc\x1b[?1049hX\x1b[?1049lY", rows: "abcY", x: 4, y: 0},
	{name: "1049 is blank", in: "abc\x1b[?1049h", rows: "", x: 3, y: 0},
	{name: "1047", in: "abc\x1b[?1047hX\x1b[?1047lY", rows: "abc Y", x: 5, y: 0, only: true},
	{name: "1048", in: "ab\x1b[?1048h\x1b[3;3H\x1b[?1048lX", rows: "abX", x: 3, y: 0, only: true},

	// Resets
	{name: "RIS", in: "abc\x1b[2;3r\x1b[?6h\x1bcX", rows: "X", x: 1, y: 0},
	{name: "DECSTR", in: "\x1b[2;3r\x1b[?6h\x1b[4h\x1b[!p\x1b[1;1HaX\x1b[1;1Hb", rows: "bX", x: 1, y: 0, only: true},

	// Strings
	{name: "OSC ended by BEL and by ST", in: "a\x1b]0;t\ab\x1b]2;u\x1b\\c", rows: "abc", x: 3, y: 0},
	{name: "sixel is skipped", in: "a\x1bPq#0;2;0;0;0~~@@\x1b\\b", rows: "ab", x: 2, y: 0},
	{name: "kitty's images are skipped", in: "a\x1b_Gf=100;AAAA\x1b\\b", rows: "ab", x: 2, y: 0},
	{name: "iTerm2's images are skipped", in: "a\x1b]1337;File=inline=1:AAAA\ab", rows: "ab", x: 2, y: 0},
	{name: "a long string", in: "a\x1b]52;c;" + strings.Repeat("A", 3*maxString) + "\ab", rows: "ab", x: 2, y: 0},
}

func (s *Screen) rowsText() string {
	text := strings.TrimSuffix(string(s.Text(nil)), "\n")
	return strings.TrimRight(strings.ReplaceAll(text, "\n", "|"), "|")
}

func TestBehaviour(t *testing.T) {
	for _, b := range behaviours {
		t.Run(b.name, func(t *testing.T) {
			s := feed(10, 5, b.in)
			if got := s.rowsText(); got != b.rows || s.x != b.x || s.y != b.y {
				t.Errorf("%q shows\n%q, cursor at %d,%d; want\n%q, %d,%d", b.in, got, s.x, s.y, b.rows, b.x, b.y)
			}
			checkSnapshot(t, s)
		})
	}
}

// sgrCases have the style that a sequence makes of the default one.
var sgrCases = []struct {
	in   string
	want style
}{
	{"", style{}},
	{"1;31", style{fg: palette | 1, attrs: bold}},
	{"31;0", style{}},
	{"31;", style{}},
	{"91;102", style{fg: palette | 9, bg: palette | 10}},
	{"38;5;200", style{fg: palette | 200}},
	{"38:5:200", style{fg: palette | 200}},
	{"48;2;1;2;3", style{bg: rgb | 0x010203}},
	{"48:2:1:2:3", style{bg: rgb | 0x010203}},
	{"48:2::1:2:3", style{bg: rgb | 0x010203}},
	{"38;5;200;1", style{fg: palette | 200, attrs: bold}},
	{"38:5:200;1", style{fg: palette | 200, attrs: bold}},
	{"38;2;300;0;0", style{}},
	{"38;5", style{}},
	{"38", style{}},
	{"4", style{underline: 1}},
	{"4:0", style{}},
	{"4:3", style{underline: 3}},
	{"4:5;58:5:9", style{underline: 5, line: palette | 9}},
	{"4;58;2;1;2;3", style{underline: 1, line: rgb | 0x010203}},
	{"21", style{underline: 2}},
	{"4;24", style{}},
	{"1;2;22", style{}},
	{"3;5;7;8;9;53", style{attrs: italic | blink | inverse | hidden | struck | overlined}},
	{"3;5;7;8;9;53;23;25;27;28;29;55", style{}},
	{"5;6;25", style{}},
	{"31;41;39;49", style{}},
	{"58:5:1;59", style{}},
	{"999;31", style{fg: palette | 1}},
}

func TestStyles(t *testing.T) {
	for _, c := range sgrCases {
		s := feed(10, 5, "\x1b["+c.in+"mx")
		if got := s.tables.styles[s.g.row(0)[0].style]; got != c.want {
			t.Errorf("SGR %q: %+v, want %+v", c.in, got, c.want)
		}
		checkSnapshot(t, s)
	}
	// From each style to each other.
	for _, a := range sgrCases {
		for _, b := range sgrCases {
			s := New(10, 5, Options{})
			for _, y := range []style{a.want, b.want} {
				s.pen = y
				s.penID = noID
				s.Write([]byte("x"))
			}
			checkSnapshot(t, s)
		}
	}
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"nothing", ""},
		{"\x1b[c", "\x1b[?62;22c"},
		{"\x1b[0c", "\x1b[?62;22c"},
		{"\x1bZ", "\x1b[?62;22c"},
		{"\x1b[>c", "\x1b[>1;277;0c"},
		{"\x1b[=c", "\x1bP!|00000000\x1b\\"},
		{"\x1b[5n", "\x1b[0n"},
		{"ab\r\nc\x1b[6n", "\x1b[2;2R"},
		{"\x1b[2;4r\x1b[?6h\x1b[6n", "\x1b[1;1R"},
		{"\x1b[?6n", "\x1b[?1;1;1R"},
		{"\x1b[>q", "\x1bP>|keyway\x1b\\"},
		{"\x1b[>0q", "\x1bP>|keyway\x1b\\"},
		{"\x1b[18t", "\x1b[8;5;10t"},
		{"\x1b[21t", ""},
		{"\x1b]0;title\a\x1b[20t\x1b[21t", ""}, // an attacker could have it typed
		{"\x1b[?25$p", "\x1b[?25;1$y"},
		{"\x1b[?25l\x1b[?25$p", "\x1b[?25;2$y"},
		{"\x1b[?2026$p", "\x1b[?2026;2$y"},
		{"\x1b[?2026h\x1b[?2026$p", "\x1b[?2026;1$y"},
		{"\x1b[?1049h\x1b[?1049$p", "\x1b[?1049;1$y"},
		{"\x1b[?1000h\x1b[?1002h\x1b[?1000$p\x1b[?1002$p", "\x1b[?1000;2$y\x1b[?1002;1$y"},
		{"\x1b[?9999$p", "\x1b[?9999;0$y"},
		{"\x1b[4h\x1b[4$p", "\x1b[4;1$y"},
		{"\x1b[99$p", "\x1b[99;0$y"},
		{"\x1b[>5u\x1b[?u", "\x1b[?5u"},
		{"\x1bP$qm\x1b\\", "\x1bP1$r0m\x1b\\"},
		{"\x1b[1;38;5;9;4:3m\x1bP$qm\x1b\\", "\x1bP1$r0;1;4:3;91m\x1b\\"},
		{"\x1b[2;4r\x1bP$qr\x1b\\", "\x1bP1$r2;4r\x1b\\"},
		{"\x1b[4 q\x1bP$q q\x1b\\", "\x1bP1$r4 q\x1b\\"},
		{"\x1bP$qx\x1b\\", "\x1bP0$r\x1b\\"},
		{"\x1bP+q544e\x1b\\", "\x1bP0+r\x1b\\"},
		{"\x1b]11;?\a", ""},
		{"\x1b]11;#123456\a\x1b]11;?\a", "\x1b]11;#123456\x1b\\"},
		{"\x1b]4;7;red\a\x1b]4;7;?;8;?\a", "\x1b]4;7;red\x1b\\"},
		{"\x1b]4;7;red\a\x1b]104;7\a\x1b]4;7;?\a", ""},
		{"\x1b]52;c;?\a", ""},
		{"\x05", ""},
	} {
		s := New(10, 5, Options{Name: "keyway"})
		s.Write([]byte(c.in))
		if got := string(s.Answers()); got != c.want {
			t.Errorf("%q is answered by %q, want %q", c.in, got, c.want)
		}
		if more := s.Answers(); more != nil {
			t.Errorf("%q is answered again: %q", c.in, more)
		}
	}
	s := feed(10, 5, strings.Repeat("\x1b[c", 10_000))
	if n := len(s.Answers()); n == 0 || n > maxAnswers {
		t.Errorf("%d bytes of answers", n)
	}
}

func TestUndo(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"just \x1b[31mtext\x1b[0m, and \x1b[?25lwhat\x1b[?25h is undone \x1b[?1049h\x1b[?1049l", ""},
		{"\x1b[?1049h\x1b[?25l\x1b[?1002;1006h", "\x1b[?1049l\x1b[?25h\x1b[?1002l\x1b[?1006l"},
		{"\x1b[?47h", "\x1b[?47l"},
		{"\x1b[?1000h\x1b[?1003h", "\x1b[?1000l\x1b[?1003l"}, // some terminals keep both
		{"\x1b[?7l\x1b[?2004h\x1b=", "\x1b[?7h\x1b[?2004l\x1b>"},
		{"\x1b[31m", "\x1b[m"},
		{"\x1b]8;;https://example.org\a", "\x1b]8;;\x1b\\"},
		{"\x1b[2;3r", "\x1b7\x1b[r\x1b8"},
		{"\x1b[?1049h\x1b[2;3r", "\x1b[r\x1b[?1049l"},
		{"\x1b[>1u\x1b[>3u", "\x1b[<2u"},
		{"\x1b[>1u\x1b[?1049h\x1b[>3u\x1b[>4u\x1b[<u", "\x1b[<1u\x1b[?1049l\x1b[<1u"},
		{"\x1b[>4;2m", "\x1b[>4m"},
		{"\x1b[>4;2m\x1b[>4m", ""},
		{"\x1b[5 q", "\x1b[0 q"},
		{"\x1b]11;#000\a\x1b]4;3;red\a", "\x1b]104;3\x1b\\\x1b]111\x1b\\"},
		{"\x1b]11;#000\a\x1b]111\a", ""},
		{"\x1b]9;4;1;40\a", "\x1b]9;4;0\x1b\\"},
		{"\x1b(0", "\x1b(B"},
		{"\x0e", "\x0f"},
		{"\x1b[?2026h", "\x1b[?2026l"},
		{"\x1b[?1049h\x1b[?25l\x1bc", ""},
	} {
		s := feed(20, 5, c.in)
		undo := s.Undo(nil)
		if string(undo) != c.want {
			t.Errorf("%q is undone by %q, want %q", c.in, undo, c.want)
		}
		s.Write(undo)
		if rest := s.Undo(nil); len(rest) > 0 {
			t.Errorf("after undoing %q there is still %q", c.in, rest)
		}
	}
}

func TestTitlesAndCwd(t *testing.T) {
	s := feed(20, 5, "\x1b]0;one\a\x1b[22;0t\x1b]2;two\x1b\\\x1b]7;file://box/tmp\x1b\\")
	if s.Title() != "two" || s.Cwd() != "file://box/tmp" {
		t.Errorf("title %q, directory %q", s.Title(), s.Cwd())
	}
	checkSnapshot(t, s)
	s.Write([]byte("\x1b[23;0t"))
	if s.Title() != "one" {
		t.Errorf("title %q", s.Title())
	}
	s.Write([]byte("\x1b]2;" + strings.Repeat("é", 1000) + "\a"))
	if n := len(s.Title()); n > maxTitle || n < maxTitle-1 || strings.Trim(s.Title(), "é") != "" {
		t.Errorf("%d bytes of title", n)
	}
	for _, bad := range []string{"\x1b]2;a\u009bb\a", "\x1b]2;\xff\a", "\x1b]7;" + strings.Repeat("x", maxCwd+1) + "\a"} {
		before := s.Title() + s.Cwd()
		if s.Write([]byte(bad)); s.Title()+s.Cwd() != before {
			t.Errorf("%.20q is taken", bad)
		}
	}
}

func TestText(t *testing.T) {
	s := feed(20, 5, "one  \r\n\r\n\x1b[31m世界 two\x1b[m  \r\n   \r\n")
	if got := string(s.Text(nil)); got != "one\n\n世界 two\n\n" {
		t.Errorf("%q", got)
	}
	if got := s.LastLine(); got != "世界 two" {
		t.Errorf("last line %q", got)
	}
	if got := New(20, 5, Options{}).LastLine(); got != "" {
		t.Errorf("last line of nothing: %q", got)
	}
}

// history returns the lines of the history, without styles' sequences if plain.
func historyLines(s *Screen, n int) []string {
	text := strings.TrimSuffix(string(s.History(nil, n)), "\r\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\r\n")
}

func TestHistory(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"lines", "a\r\nb\r\nc\r\n", []string{"a", "b"}},
		{"styles", "\x1b[1;31mred\x1b[0m \x1b[32;44mgreen\x1b[m\r\n\r\n\r\n", []string{"\x1b[1;31mred\x1b[m \x1b[32;44mgreen\x1b[m", ""}},
		{"a style goes on", "\x1b[31ma\r\nb\r\nc\r\n", []string{"\x1b[31ma\x1b[m", "\x1b[31mb\x1b[m"}},
		{"a wrapped line is one", "0123456789abcdefghij\r\n\r\n", []string{"0123456789abcdefghij"}},
		{"wide characters that wrap", "012345678世\r\n\r\n\r\n", []string{"012345678世", ""}},
		{"spaces at the end are nothing", "a     \r\nb\r\nc\r\n", []string{"a", "b"}},
		{"unless they can be seen", "\x1b[41m  \x1b[m\r\nb\r\n\r\n", []string{"\x1b[41m  \x1b[m", "b"}},
		{"gaps are spaces", "a\x1b[5Gb\r\n\r\n\r\n", []string{"a   b", ""}},
		{"links", "\x1b]8;;u:x\alink\x1b]8;;\a\r\n\r\n\r\n", []string{"\x1b]8;;u:x\x1b\\link\x1b]8;;\x1b\\", ""}},
		{"a progress bar is one line", strings.Repeat("\r10%\r20%\r30%", 100) + "\r\n\r\n\r\n", []string{"30%", ""}},
		{"nothing from the alternate screen", "a\x1b[?1049h" + strings.Repeat("x\r\n", 10) + "\x1b[?1049l\r\n\r\n", []string{"a"}},
		{"nothing from within margins", "a\x1b[2;3r\x1b[2;1H" + strings.Repeat("x\r\n", 10), nil},
		{"from margins at the top", "a\x1b[1;2r\x1b[2;1H\n\n", []string{"a", ""}},
		{"ED 3 clears", "a\r\nb\r\nc\r\nd\r\n\x1b[3J", nil},
		{"ED 2 does not", "a\r\nb\r\nc\r\n\x1b[2J", []string{"a", "b"}},
		{"SU", "a\r\nb\x1b[2S", []string{"a", "b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := New(10, 2, Options{})
			if c.name == "nothing from within margins" {
				s = New(10, 5, Options{})
			}
			s.Write([]byte(c.in))
			if got := historyLines(s, 100); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			if n := s.HistoryLines(); n != len(c.want) {
				t.Errorf("%d lines, want %d", n, len(c.want))
			}
			checkSnapshot(t, s)
		})
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := New(80, 24, Options{Lines: 1000})
	for i := range 20_000 {
		fmt.Fprintf(s, "line %d\r\n", i)
	}
	lines := historyLines(s, 10)
	if len(lines) != 10 || lines[9] != "line 19976" {
		t.Errorf("the last lines are %q", lines)
	}
	// The history is dropped in pieces, so it may have more lines than requested.
	if n := s.HistoryLines(); n < 1000 || n > 1000+pieceSize/len("line 10000....") {
		t.Errorf("%d lines", n)
	}
	s = New(80, 24, Options{Bytes: 200 << 10})
	s.Write([]byte(strings.Repeat("no end of a line ", 100_000)))
	if n := len(s.History(nil, 10)); n < 100<<10 || n > 200<<10+pieceSize {
		t.Errorf("%d bytes of history", n)
	}
	s = New(80, 24, Options{Lines: -1})
	s.Write([]byte(strings.Repeat("line\r\n", 1000)))
	if n := s.HistoryLines(); n != 0 || len(s.History(nil, 10)) != 0 {
		t.Errorf("%d lines without a history", n)
	}
}

func TestScrolled(t *testing.T) {
	var got []string
	s := New(10, 2, Options{Lines: -1, Newline: true, Scrolled: func(line []byte, wrapped bool) {
		got = append(got, fmt.Sprint(string(line), wrapped))
	}})
	s.Write([]byte("0123456789ab\n\x1b[31mred\x1b[m\n\n"))
	if want := []string{"0123456789true", "abfalse", "\x1b[31mred\x1b[mfalse"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
