package notebook

import (
	"crypto/sha256"
	"errors"
	"io"
	"strings"
)

// Document is where in the text of a notebook's model, as the contents API has it, the
// parts are that Splice and TakeMarks change. The text itself stays where it is.
type Document struct {
	Content  Span   // the notebook itself
	Modified string // last_modified
	cells    []*cell
	ids      bool
}

// Span is a part of a text: the offsets of its first byte and of the one after it.
type Span struct{ From, To int64 }

// cell is a code cell.
type cell struct {
	id       string
	code     [sha256.Size]byte
	readable bool // the source is, and so is code its hash
	open     int64
	outputs  Span
	count    Span
	metadata Span
	bare     bool    // metadata has no members, or is no object
	mark     *member // of metadata
	shown    string  // by the mark
}

// maxSource bounds in bytes the source of a cell that is looked at.
const maxSource = 4 << 20

// maxCells bounds the cells of code that are looked at.
const maxCells = 50_000

// errCells is a notebook that has more.
var errCells = errors.New("a notebook of too many cells")

// Scan reads the model of a notebook. A document without Content is none.
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

// scanCell reports whether the cell is one of code.
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
			err := s.skip()
			c.outputs = Span{m.value, s.at}
			return err
		case "execution_count":
			err := s.skip()
			c.count = Span{m.value, s.at}
			return err
		}
		return s.skip()
	})
	return c, code, err
}

// tooLong passes over a string that is too long to be looked at.
func tooLong(err error) error {
	if errors.Is(err, errLong) {
		return nil
	}
	return err
}

// scanSource reads text, or lines of text as one.
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
