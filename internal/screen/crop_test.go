package screen

import "testing"

func TestCrop(t *testing.T) {
	const shown = "\x1b[31m0123456789\x1b[m\r\na漢字b\r\n\r\n\x1b[44mx \x1b[m\r\n"
	for _, test := range []struct {
		name, then string
		cols, rows int
		text       string
		col, row   int
	}{
		{"smaller", "\x1b[H", 4, 2, "0123\na漢\n", 0, 0},
		{"a character cut at its end", "\x1b[H", 2, 2, "01\na\n", 0, 0},
		{"the cursor to the right", "\x1b[2;5H", 3, 3, "234\n 字\n", 2, 1},
		{"a character cut at its start", "\x1b[1;6H", 3, 1, "345\n", 2, 0},
		{"the cursor below", "\x1b[4;1Hy", 4, 2, "\ny\n", 1, 1},
		{"larger", "", 30, 9, "0123456789\na漢字b\n\nx\n", 0, 4},
		{"full width", "\x1b[1;10H", 10, 5, "0123456789\na漢字b\n\nx\n", 9, 0},
	} {
		s := New(12, 6, Options{Lines: -1})
		s.Write([]byte(shown + test.then))
		there := New(test.cols, test.rows, Options{Lines: -1})
		there.Write([]byte("left from before\r\nand more"))
		there.Write(s.Crop(nil, test.cols, test.rows))
		if text := string(there.Text(nil)); text != test.text {
			t.Errorf("%s: %q, want %q", test.name, text, test.text)
		}
		if col, row := there.Cursor(); col != test.col || row != test.row {
			t.Errorf("%s: the cursor is at %d, %d, want %d, %d", test.name, col, row, test.col, test.row)
		}
		if there.modes.on(syncOutput) || !there.modes.on(cursorShown) {
			t.Errorf("%s: modes are left", test.name)
		}
	}
	s := New(12, 6, Options{Lines: -1})
	s.Write([]byte("\x1b[?25l\x1b[?1049h\x1b[?1000h\x1b[7mtop"))
	there := New(4, 2, Options{Lines: -1})
	there.Write(s.Crop(nil, 4, 2))
	if there.modes.on(cursorShown) || there.Alternate() || there.modes.mouse != 0 || there.g.row(0)[0].style == 0 {
		t.Error("of a full-screen program it takes over more, or less, than how it looks")
	}
}
