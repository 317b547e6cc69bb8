package screen

// charsets holds the four character sets that a program can choose from.
type charsets struct {
	set    [4]byte // as designated: 'B' or 0 for ASCII, '0' for line drawing, 'A' for British
	active uint8   // the set in use
	single uint8   // the set for the next character only; 0: none
}

func (c *charsets) translates() bool {
	return c.single != 0 || c.set[c.active] != 0
}

// designate makes set one of the four. An unknown set is ASCII.
func (c *charsets) designate(which int, set byte) {
	if set != '0' && set != 'A' {
		set = 0
	}
	c.set[which] = set
}

// lines are the characters of DEC's line drawing set, from '_' on.
var lines = [...]rune{
	' ', '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼',
	'⎺', '⎻', '─', '⎼', '⎽', '├', '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
}

func (c *charsets) translate(r rune) rune {
	set := c.set[c.active]
	if c.single != 0 {
		set = c.set[c.single]
		c.single = 0
	}
	switch {
	case set == '0' && r >= '_' && r <= '~':
		return lines[r-'_']
	case set == 'A' && r == '#':
		return '£'
	}
	return r
}
