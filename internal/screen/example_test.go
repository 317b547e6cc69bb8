package screen_test

import (
	"fmt"

	"keyway/internal/screen"
)

// A terminal is left in the middle of a program, and found again from another window.
func Example() {
	s := screen.New(20, 3, screen.Options{})
	fmt.Fprint(s, "\x1b[?1049h\x1b[31mloss 0.25\x1b[2;1H\x1b[mepoch 7")

	// The snapshot brings an empty terminal of the same size into the same state.
	snapshot := s.Snapshot(nil)
	window := screen.New(20, 3, screen.Options{})
	window.Write(snapshot)

	col, row := window.Cursor()
	fmt.Printf("%s\ncursor %d,%d, alternate screen %t\n", window.Text(nil), col, row, window.Alternate())
	// Output:
	// loss 0.25
	// epoch 7
	//
	// cursor 7,1, alternate screen true
}

// Undo switches off what a program has left switched on, and nothing else.
func ExampleScreen_Undo() {
	s := screen.New(80, 24, screen.Options{})
	fmt.Fprint(s, "\x1b[?1000h\x1b[?25l") // reports of the mouse; no cursor
	fmt.Printf("%q\n", s.Undo(nil))
	// Output: "\x1b[?25h\x1b[?1000l"
}
