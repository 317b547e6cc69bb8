package notebook

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// scanner reads JSON text without holding it in memory. It checks only what it needs: the next
// reader of the text refuses invalid JSON.
type scanner struct {
	r     *bufio.Reader
	at    int64 // offset of the next byte
	depth int
}

// maxDepth bounds the nesting of objects and arrays.
const maxDepth = 1000

var errSyntax = errors.New("no JSON")

// newScanner returns a scanner of r, which has about size bytes.
func newScanner(r io.Reader, size int) *scanner {
	return &scanner{r: bufio.NewReaderSize(r, min(size, 64<<10))}
}

// peek returns the next byte that is no white space, without taking it.
func (s *scanner) peek() (byte, error) {
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return 0, err
		}
		switch c {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return c, s.r.UnreadByte()
		}
	}
}

func (s *scanner) take(want byte) error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c != want {
		return fmt.Errorf("%w: %q at %d, not %q", errSyntax, c, s.at, want)
	}
	s.at++
	_, err = s.r.ReadByte()
	return err
}

// member has the offsets of an object's member.
type member struct {
	key            string
	first          bool
	comma, from    int64 // comma before it, unless it is the first member; start of the key
	value, to, end int64 // start of the value; offset after it; offset after the comma that follows, or to
}

// object calls f for each member with the scanner before its value, and f takes the value. The
// offsets after the value are set when object returns.
func (s *scanner) object(f func(*member) error) error {
	var last *member
	return s.list('{', '}', func(comma int64) error {
		if last != nil {
			last.end = comma + 1
		}
		if _, err := s.peek(); err != nil {
			return err
		}
		m := &member{first: last == nil, comma: comma, from: s.at}
		key, err := s.text(1 << 10)
		if err = tooLong(err); err != nil {
			return err
		}
		if err := s.take(':'); err != nil {
			return err
		}
		if _, err := s.peek(); err != nil {
			return err
		}
		m.key, m.value = key, s.at
		if err := f(m); err != nil {
			return err
		}
		m.to, m.end, last = s.at, s.at, m
		return nil
	})
}

// array calls f for each element with the scanner before it, and f takes the element.
func (s *scanner) array(f func() error) error {
	return s.list('[', ']', func(int64) error { return f() })
}

// list calls f for each element with the offset of the comma before it.
func (s *scanner) list(open, shut byte, f func(comma int64) error) error {
	if s.depth++; s.depth > maxDepth {
		return fmt.Errorf("%w: nested deeper than %d", errSyntax, maxDepth)
	}
	defer func() { s.depth-- }()
	if err := s.take(open); err != nil {
		return err
	}
	comma := int64(-1)
	for {
		c, err := s.peek()
		if err != nil {
			return err
		}
		switch {
		case c == shut && comma < 0:
			return s.take(shut)
		case comma >= 0 || c != ',':
			if err := f(comma); err != nil {
				return err
			}
		}
		if c, err = s.peek(); err != nil {
			return err
		}
		if c == shut {
			return s.take(shut)
		}
		comma = s.at
		if err := s.take(','); err != nil {
			return err
		}
	}
}

// skip takes a value of any type.
func (s *scanner) skip() error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	switch c {
	case '{':
		return s.object(func(*member) error { return s.skip() })
	case '[':
		return s.array(s.skip)
	case '"':
		_, err := s.raw(0)
		return err
	}
	for n := 0; ; n++ {
		c, err := s.r.ReadByte()
		if err != nil {
			if errors.Is(err, io.EOF) && n > 0 {
				return nil
			}
			return err
		}
		switch c {
		case ',', '}', ']', ' ', '\t', '\r', '\n':
			if n == 0 {
				return fmt.Errorf("%w: %q at %d", errSyntax, c, s.at)
			}
			return s.r.UnreadByte()
		}
		s.at++
	}
}

// raw takes a string and returns it as it is written, with its quotes, cut to max bytes.
func (s *scanner) raw(max int) ([]byte, error) {
	if err := s.take('"'); err != nil {
		return nil, err
	}
	kept, escaped := append(make([]byte, 0, min(max, 64)), '"'), false
	for {
		part, err := s.r.ReadSlice('"')
		s.at += int64(len(part))
		if room := max - len(kept); room > 0 {
			kept = append(kept, part[:min(room, len(part))]...)
		}
		for i := range part {
			quote := part[i] == '"' && !escaped
			escaped = part[i] == '\\' && !escaped
			if quote {
				return kept, nil
			}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

// errLong means that a string has more bytes than its caller allows.
var errLong = errors.New("a string is too long")

// text takes a string and returns it decoded. For a string of more than max bytes, as written, it
// returns errLong.
func (s *scanner) text(max int) (string, error) {
	raw, err := s.raw(max + 2)
	if err != nil {
		return "", err
	}
	var text string
	if len(raw) == max+2 && raw[max+1] != '"' {
		return "", errLong
	}
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", fmt.Errorf("%w: %w", errSyntax, err)
	}
	return text, nil
}
