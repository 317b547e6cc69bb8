package notebook

import (
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"strings"
)

// Document has the positions of the parts that Splice and TakeMarks change, in the text of a
// notebook's model as the contents API sends it. The text itself is not kept.
type Document struct {
	Content  Span   // the notebook itself
	Modified string // last_modified
	cells    []*cell
	ids      bool
}

// Span is a part of a text: the offset of its first byte, and the offset after its last byte.
type Span struct{ From, To int64 }

// HasIDs reports whether code cells of the notebook have ids.
func (doc *Document) HasIDs() bool { return doc.ids }

// HasCell reports whether the notebook has a code cell with that id.
func (doc *Document) HasCell(id string) bool {
	return slices.ContainsFunc(doc.cells, func(c *cell) bool { return c.id == id })
}

// cell is a code cell.
type cell struct {
	id       string
	code     [sha256.Size]byte
	readable bool // the source could be read, and code is its hash
	open     int64
	outputs  Span
	count    Span
	ran      bool // it has outputs or a number
	metadata Span
	bare     bool    // the metadata has no members, or is no object
	mark     *member // in the metadata
	shown    string  // the run that the mark names
}

// maxSource bounds the bytes of a cell's source that is read.
const maxSource = 4 << 20

// maxCells bounds the code cells of a notebook.
const maxCells = 50_000

// errCells means that a notebook has more than maxCells code cells.
var errCells = errors.New("a notebook of too many cells")

// Scan reads the model of a notebook. A document without Content is no notebook.
func Scan(r io.Reader) (*Document, error) {
	s, doc := newScanner(r, 64<<10), &Document{}
	err := s.object(func(m *member) (err error) {
		c, err := s.peek()
		switch {
		case err != nil:
			return err
		case m.key == "content" && c == '{':
			err = doc.scan(s)
			doc.Content = Span{m.value, s.at}
			return err
		case m.key == "last_modified" && c == '"':
			doc.Modified, err = s.text(1 << 10)
			return err
		}
		return s.skip()
	})
	if err != nil {
		return nil, err
	}
	if _, err := s.peek(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	return doc, nil
}

func (doc *Document) scan(s *scanner) error {
	return s.object(func(m *member) error {
		if c, err := s.peek(); err != nil || m.key != "cells" || c != '[' {
			return errors.Join(err, s.skip())
		}
		return s.array(func() error {
			if c, err := s.peek(); err != nil || c != '{' {
				return errors.Join(err, s.skip())
			}
			c, code, err := scanCell(s)
			if code && len(doc.cells) == maxCells {
				return errCells
			}
			if code {
				doc.cells, doc.ids = append(doc.cells, c), doc.ids || c.id != ""
			}
			return err
		})
	})
}

// scanCell reads a cell. code reports whether it is a code cell.
func scanCell(s *scanner) (c *cell, code bool, err error) {
	c = &cell{open: s.at + 1}
	err = s.object(func(m *member) error {
		kind, err := s.peek()
		if err != nil {
			return err
		}
		switch m.key {
		case "id", "cell_type":
			if kind != '"' {
				break
			}
			word, err := s.text(1 << 10)
			if m.key == "id" {
				c.id = word
			} else {
				code = word == "code"
			}
			return tooLong(err)
		case "source":
			return c.scanSource(s, kind)
		case "metadata":
			if kind == '{' {
				err := c.scanMetadata(s)
				c.metadata = Span{m.value, s.at}
				return err
			}
			err := s.skip()
			c.metadata, c.bare, c.mark = Span{m.value, s.at}, true, nil
			return err
		case "outputs":
			skip := s.skip
			if kind == '[' {
				skip = func() error { return s.array(func() error { c.ran = true; return s.skip() }) }
			}
			err := skip()
			c.outputs = Span{m.value, s.at}
			return err
		case "execution_count":
			c.ran = c.ran || kind != 'n'
			err := s.skip()
			c.count = Span{m.value, s.at}
			return err
		}
		return s.skip()
	})
	return c, code, err
}

// tooLong turns errLong into nil: such a string is skipped.
func tooLong(err error) error {
	if errors.Is(err, errLong) {
		return nil
	}
	return err
}

// scanSource reads the source of a cell: a string, or a list of lines.
func (c *cell) scanSource(s *scanner, kind byte) error {
	var all strings.Builder
	c.readable = true
	add := func() error {
		if kind, err := s.peek(); err != nil || kind != '"' {
			return errors.Join(err, s.skip())
		}
		text, err := s.text(maxSource)
		if errors.Is(err, errLong) || all.Len()+len(text) > maxSource {
			c.readable = false
			return tooLong(err)
		}
		all.WriteString(text)
		return err
	}
	var err error
	if kind == '[' {
		err = s.array(add)
	} else {
		err = add()
	}
	c.code = sha256.Sum256([]byte(all.String()))
	return err
}

func (c *cell) scanMetadata(s *scanner) error {
	c.bare, c.mark = true, nil
	return s.object(func(m *member) error {
		c.bare = false
		kind, err := s.peek()
		if err != nil || m.key != markName {
			return errors.Join(err, s.skip())
		}
		c.mark, c.shown = m, ""
		if kind != '{' {
			return s.skip()
		}
		return s.object(func(m *member) error {
			if kind, err := s.peek(); err != nil || kind != '"' || m.key != markKey {
				return errors.Join(err, s.skip())
			}
			text, err := s.text(1 << 10)
			c.shown = text
			return tooLong(err)
		})
	})
}
