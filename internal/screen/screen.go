package screen

import "math"

// Bounds of a screen. Together with those in cell.go, they bound the memory of a Screen for any
// input.
const (
	maxCols  = 4096
	maxCells = 1 << 20 // of each of the two screens

	defaultLines = 50_000  // of history
	defaultBytes = 8 << 20 // of history
)

// Options are the options of a Screen.
type Options struct {
	// Lines and Bytes bound the history; the oldest lines go first. 0 means 50,000 lines and 8
	// MiB. A negative number of lines means no history.
	Lines, Bytes int
	// Newline makes a line feed also move to the first column, for output that has not passed
	// through a terminal driver.
	Newline bool
	// Name is the answer to programs that ask for the terminal's name.
	Name string
	// Scrolled is called with each row that leaves the main screen at its top, in the form of
	// the history. wrapped reports whether its line continues in the next row. Scrolled must
	// not keep line.
	Scrolled func(line []byte, wrapped bool)
}

// Screen is a terminal without a window. It is not safe for concurrent use.
type Screen struct {
	options Options
	content
	writing
	settings
	parser    parser
	answers   []byte
	questions Questions
}

// content holds the two screens and the rows that have left them.
type content struct {
	cols, rows int
	tables     *tables
	shared     bool // tables belong to another screen
	main, alt  grid
	gone       uint64 // rows that have left main at its top
	g          *grid  // the one that is shown
	history    history
}

// writing is the position and the style of the next character.
type writing struct {
	cursor
	penID uint32
	last  uint32 // the last printed glyph, for REP; 0: none
}

// settings are values that programs set, and that stay until they are set again.
type settings struct {
	margin  box
	tabs    []bool
	modes   modes
	titles  titles
	state   oscState
	residue residue
}

// noID means that the pen's style has no number yet.
const noID = math.MaxUint32

// New returns a blank screen. Its size is subject to Bound.
func New(cols, rows int, o Options) *Screen {
	if o.Lines == 0 {
		o.Lines = defaultLines
	}
	if o.Bytes == 0 {
		o.Bytes = defaultBytes
	}
	s := &Screen{options: o, content: content{tables: newTables()}}
	s.cols, s.rows = Bound(cols, rows)
	s.history.lines, s.history.bytes = o.Lines, o.Bytes
	s.main.init(s.cols, s.rows)
	s.g = &s.main
	s.reset()
	return s
}

// Bound returns the size that New and Resize make of the given one: at least one row and
// column, at most 4096 columns and a million cells.
func Bound(cols, rows int) (int, int) {
	cols = max(1, min(cols, maxCols))
	return cols, max(1, min(rows, maxCells/cols))
}

// Size returns the number of columns and rows.
func (s *Screen) Size() (cols, rows int) { return s.cols, s.rows }

// Cursor returns the position of the cursor, counted from 0.
func (s *Screen) Cursor() (col, row int) { return s.x, s.y }

// Alternate reports whether the alternate screen is shown, as by a full-screen program.
func (s *Screen) Alternate() bool { return s.g == &s.alt }

// reset resets everything except the content to the state of a new terminal.
func (s *Screen) reset() {
	s.cursor = cursor{}
	s.penID = 0
	s.last = 0
	s.margin = s.g.whole()
	s.modes = newModes(s.options.Newline)
	s.resetTabs()
	for _, g := range []*grid{&s.main, &s.alt} {
		g.saved = cursor{}
		g.keys = keyStack{}
	}
}

// fullReset executes RIS.
func (s *Screen) fullReset() {
	if s.Alternate() {
		s.g = &s.main
	}
	s.alt = grid{}
	s.pen = style{}
	s.clearRows(0, s.rows)
	s.state, s.titles, s.residue = oscState{cwd: s.state.cwd}, titles{lost: len(s.titles.stack) + s.titles.lost}, residue{}
	s.reset()
}

// softReset executes DECSTR.
func (s *Screen) softReset() {
	x, y := s.x, s.y
	s.cursor = cursor{x: x, y: y}
	s.penID = 0
	s.g.saved = cursor{}
	s.g.keys = keyStack{}
	s.margin = s.g.whole()
	s.modes.softReset()
}

// style returns the number of the pen's style.
func (s *Screen) style() uint32 {
	if s.penID == noID {
		s.collect()
		s.penID = s.tables.style(s.pen)
	}
	return s.penID
}

// blank returns the cell that erasing leaves: an empty one with the pen's background.
func (s *Screen) blank() cell {
	if s.pen.bg == 0 {
		return cell{}
	}
	return cell{style: s.tables.style(style{bg: s.pen.bg})}
}

// scrollUp moves b's content up. Rows that leave the screen go to the history.
func (s *Screen) scrollUp(b box, n int) {
	n = min(n, b.bottom-b.top+1)
	if s.g == &s.main && b.top == 0 && s.g.wide(b) {
		for y := range n {
			s.remember(y)
		}
	}
	s.g.scroll(b, n, s.blank())
}

// scrollDown moves b's content down.
func (s *Screen) scrollDown(b box, n int) {
	s.endHistory(b.top)
	s.g.scroll(b, -n, s.blank())
}

// endHistory notes that row y has been replaced. If it is the first row, it no longer continues
// the history's last line.
func (s *Screen) endHistory(y int) {
	if y == 0 && s.g == &s.main {
		s.history.close()
	}
}

// usualTabs reports whether the tab stops are those of a new terminal.
func (s *Screen) usualTabs() bool {
	for x, stop := range s.tabs {
		if stop != (x > 0 && x%8 == 0) {
			return false
		}
	}
	return true
}

func (s *Screen) resetTabs() {
	s.tabs = make([]bool, s.cols)
	for x := 8; x < s.cols; x += 8 {
		s.tabs[x] = true
	}
}
