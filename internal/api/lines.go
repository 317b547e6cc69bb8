package api

import (
	"bufio"
	"errors"
	"io"
)

var errLongLine = errors.New("a line is longer than allowed")

// lineReader reads lines of bounded length.
type lineReader struct {
	r     *bufio.Reader
	limit int
}

func newLineReader(r io.Reader, limit int) lineReader {
	return lineReader{bufio.NewReader(r), limit}
}

// next returns the next line without its end. Bytes after the last end of line are an incomplete
// line and an error.
func (l lineReader) next() ([]byte, error) {
	var line []byte
	for {
		part, err := l.r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > l.limit {
			return nil, errLongLine
		}
		if err == nil {
			return line[:len(line)-1], nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}
