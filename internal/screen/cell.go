package screen

import "unicode/utf8"

// cell is one cell of the screen. In the zero cell, nothing was ever printed, or it was erased
// with the default background.
type cell struct {
	// glyph is a code point, or an index of tables.clusters with clusterBit. It is 0 in an
	// empty cell, and tail in the second half of a wide character.
	glyph uint32
	style uint32 // index of tables.styles
}

const (
	clusterBit = 1 << 31
	wideBit    = 1 << 30 // the character takes this cell and the next
	tail       = 1 << 29
	glyphMask  = tail - 1
)

func (c cell) wide() bool  { return c.glyph&wideBit != 0 }
func (c cell) tail() bool  { return c.glyph == tail }
func (c cell) blank() bool { return c.glyph == 0 }

// color is the default colour (0), a colour of the palette, or an RGB value.
type color uint32

const (
	palette color = 1 << 24 // with an index of the palette
	rgb     color = 2 << 24 // with 8 bits each
)

// attr is a set of attributes.
type attr uint16

const (
	bold attr = 1 << iota
	faint
	italic
	blink
	fastBlink
	inverse
	hidden
	struck
	overlined
)

// style is the way in which a character is drawn. Values are comparable.
type style struct {
	fg, bg, line color // line is the colour of the underline
	attrs        attr
	underline    uint8  // 0: none; 1 to 5: straight, double, curly, dotted, dashed
	link         uint16 // index of tables.links; 0: none
}

// plain reports whether a blank cell of this style looks empty.
func (y style) plain() bool {
	return y.bg == 0 && y.attrs&(inverse|struck|overlined) == 0 && y.underline == 0
}

// Bounds on the values that cells refer to. A screen that exceeds them loses accents, colours
// or links, but nothing else.
const (
	maxStyles      = 1 << 18
	maxClusters    = 1 << 16
	maxClusterSize = 48 // bytes; the longest emoji sequence in use has 35
	maxLinks       = 1 << 12
	maxLinkSize    = 2083 // bytes, as in other terminals
)

// tables hold the values that cells refer to by number, each value once. Number 0 is the
// default style and no link.
type tables struct {
	styles   []style
	styleIDs map[style]uint32
	recent   [64]uint32 // the last ones looked up, by slot

	sequences [64]sequence // the last ones appended

	clusters   []string
	clusterIDs map[string]uint32

	links   []link
	linkIDs map[link]uint16

	sweepAt int // number of styles, clusters and links from which on collecting is worth while
}

// link is the target of a hyperlink. Stretches of text with the same id and target are one
// link.
type link struct{ params, target string }

func newTables() *tables {
	return &tables{
		styles:     []style{{}},
		styleIDs:   map[style]uint32{{}: 0},
		clusterIDs: map[string]uint32{},
		links:      []link{{}},
		linkIDs:    map[link]uint16{{}: 0},
		sweepAt:    sweepStart,
	}
}

const sweepStart = 1024

func (t *tables) size() int { return len(t.styles) + len(t.clusters) + len(t.links) }

// slot returns a number below 64 that is likely to differ between styles.
func (y *style) slot() uint32 {
	return (uint32(y.fg)*0x9e3779b1 + uint32(y.bg)*0x85ebca6b + uint32(y.attrs)*0xc2b2ae35 + uint32(y.underline)*0x27d4eb2f) >> 26
}

// style returns the number of a style.
func (t *tables) style(y style) uint32 {
	recent := &t.recent[y.slot()]
	if t.styles[*recent] == y {
		return *recent
	}
	id, ok := t.styleIDs[y]
	if !ok {
		if len(t.styles) >= maxStyles {
			return 0
		}
		id = uint32(len(t.styles))
		t.styles = append(t.styles, y)
		t.styleIDs[y] = id
	}
	*recent = id
	return id
}

// cluster returns the glyph of a character of several code points.
func (t *tables) cluster(text []byte) (glyph uint32, ok bool) {
	id, ok := t.clusterIDs[string(text)]
	if !ok {
		if len(t.clusters) >= maxClusters {
			return 0, false
		}
		id = uint32(len(t.clusters))
		t.clusters = append(t.clusters, string(text))
		t.clusterIDs[t.clusters[id]] = id
	}
	return clusterBit | id, true
}

func (t *tables) link(l link) uint16 {
	id, ok := t.linkIDs[l]
	if !ok {
		if len(t.links) >= maxLinks {
			return 0
		}
		id = uint16(len(t.links))
		t.links = append(t.links, l)
		t.linkIDs[l] = id
	}
	return id
}

// appendGlyph appends the text of a cell that is not a tail. An empty cell is a space.
func (t *tables) appendGlyph(dst []byte, glyph uint32) []byte {
	switch {
	case glyph&glyphMask == 0 && glyph&clusterBit == 0:
		return append(dst, ' ')
	case glyph < 0x80:
		return append(dst, byte(glyph))
	case glyph&clusterBit != 0:
		return append(dst, t.clusters[glyph&glyphMask]...)
	}
	return utf8.AppendRune(dst, rune(glyph&glyphMask))
}

// first returns the first code point of a glyph.
func (t *tables) first(glyph uint32) rune {
	if glyph&clusterBit == 0 {
		return rune(glyph & glyphMask)
	}
	r, _ := utf8.DecodeRuneInString(t.clusters[glyph&glyphMask])
	return r
}

// collect removes values that neither cells nor pens refer to, once that is worth while. It
// renumbers styles and glyphs.
func (s *Screen) collect() {
	if s.shared || s.tables.size() < s.tables.sweepAt {
		return
	}
	old := s.tables
	s.tables = newTables()
	for _, g := range []*grid{&s.main, &s.alt} {
		for i := range g.cells {
			c := &g.cells[i]
			if c.style != 0 {
				c.style = s.tables.style(s.relink(old, old.styles[c.style]))
			}
			c.glyph = s.recluster(old, c.glyph)
		}
		g.saved.pen = s.relink(old, g.saved.pen)
	}
	s.pen = s.relink(old, s.pen)
	s.last = s.recluster(old, s.last)
	s.penID = noID
	s.tables.sweepAt = max(sweepStart, 2*s.tables.size())
}

func (s *Screen) recluster(old *tables, glyph uint32) uint32 {
	if glyph&clusterBit == 0 {
		return glyph
	}
	id, _ := s.tables.cluster([]byte(old.clusters[glyph&glyphMask]))
	return id | glyph&wideBit
}

func (s *Screen) relink(old *tables, y style) style {
	if y.link != 0 {
		y.link = s.tables.link(old.links[y.link])
	}
	return y
}
