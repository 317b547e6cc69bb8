package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Report is what Verify found.
type Report struct {
	Files   int
	Events  int
	Torn    int       // lines that were not written to their end
	Rotated bool      // the oldest events are no longer there
	First   time.Time // of the events that are
	Last    time.Time
	Seq     uint64
	Hash    string // of the last line: whoever noted it can prove what came before
}

// Verify checks that every line continues the one before it. An error says where
// the chain breaks.
func Verify(path string) (Report, error) {
	c := checker{tail: tail{hash: genesis}}
	list, err := files(path)
	if err != nil {
		return c.report, err
	}
	for _, name := range list {
		c.report.Files++
		if err := c.file(name); err != nil {
			return c.report, fmt.Errorf("%s: %w", name, err)
		}
	}
	c.report.Seq, c.report.Hash = c.tail.seq, c.tail.hash
	return c.report, nil
}

type checker struct {
	tail   tail
	report Report
}

func (c *checker) file(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	b := bufio.NewReader(f)
	for number := 1; ; number++ {
		line, err := b.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err := c.line(line); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
}

func (c *checker) line(line []byte) error {
	var e Event
	if len(line) > maxLine || json.Unmarshal(line, &e) != nil {
		if c.tail.torn {
			return errors.New("two lines in a row are not events")
		}
		c.report.Torn++
		c.tail.advance(line, c.tail.seq)
		c.tail.torn = true
		return nil
	}
	first := c.report.Events == 0
	switch {
	case first && e.Prev != genesis && !c.tail.torn:
		c.report.Rotated = true
	case e.Prev != c.tail.hash:
		return fmt.Errorf("event %d does not continue the line before it", e.Seq)
	case e.Seq != c.tail.seq+1:
		return fmt.Errorf("event %d follows event %d", e.Seq, c.tail.seq)
	case c.tail.torn && e.Event != repaired:
		return errors.New("the line before is not an event, and nothing says why")
	}
	if first {
		c.report.First = e.Time
	}
	c.report.Events++
	c.report.Last = e.Time
	c.tail.advance(line, e.Seq)
	return nil
}

// pollInterval is how often Follow looks for new events.
const pollInterval = 200 * time.Millisecond

// Read calls each for every event, oldest first.
func Read(path string, each func(Event) error) error {
	list, err := files(path)
	if err != nil {
		return err
	}
	for _, name := range list {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		_, err = lines(f, each)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// Follow is Read, and goes on with new events until ctx ends.
func Follow(ctx context.Context, path string, each func(Event) error) error {
	var last uint64
	fresh := func(e Event) error {
		if e.Seq <= last {
			return nil
		}
		last = e.Seq
		return each(e)
	}
	if err := Read(path, fresh); err != nil {
		return err
	}
	var open *os.File
	defer func() {
		if open != nil {
			open.Close()
		}
	}()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		var err error
		if open, err = follow(open, path, fresh); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// follow reads what is new in open, or in the file that has taken its path. It
// gives the file to go on with.
func follow(open *os.File, path string, each func(Event) error) (*os.File, error) {
	if open != nil {
		if err := rest(open, each); err != nil {
			return open, err
		}
		now, err := os.Stat(path)
		mine, errMine := open.Stat()
		if err == nil && errMine == nil && os.SameFile(now, mine) {
			return open, nil
		}
		open.Close()
	}
	next, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// Events between two looks may have been rotated away already.
	if err := Read(path, each); err != nil {
		return next, err
	}
	return next, rest(next, each)
}

// rest reads whole lines and leaves the offset before one without an end.
func rest(f *os.File, each func(Event) error) error {
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	n, err := lines(f, each)
	if err != nil {
		return err
	}
	_, err = f.Seek(at+n, io.SeekStart)
	return err
}

// lines calls each for every event and gives the length of the whole lines. A
// line that is no event is left out; Verify is who complains about it.
func lines(r io.Reader, each func(Event) error) (int64, error) {
	b := bufio.NewReader(r)
	var n int64
	for {
		line, err := b.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		n += int64(len(line))
		var e Event
		if json.Unmarshal(bytes.TrimSpace(line), &e) != nil {
			continue
		}
		if err := each(e); err != nil {
			return n, err
		}
	}
}
