package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

// Report is the result of Verify.
type Report struct {
	Files     int
	Events    int
	Kept      int       // uses and changes of keys of before, which stay when refusals go
	Torn      int       // lines that were not written to their end
	Rotated   bool      // the oldest events are no longer there
	Unsaid    bool      // and no event says who removed them: an earlier version does not
	Unwritten uint64    // events that could not be written, as the log says
	First     time.Time // of the events that are
	Last      time.Time
	Seq       uint64
	Hash      string // of the last line: a user that has noted it can prove the lines before
}

// Verify checks that every line continues the one before it, and that only lines are missing that
// the log reports as rotated out. An error says where the chain breaks.
func Verify(path string) (Report, error) {
	c := checker{path: path, tail: tail{hash: genesis}}
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
	return c.report, c.end(list)
}

type checker struct {
	path     string
	tail     tail
	report   Report
	first    Event     // of those that are there
	last     Event     //
	rotation *Rotation // where the log begins, by the last event
}

// end checks for missing lines.
func (c *checker) end(list []string) error {
	r := c.rotation
	if r == nil {
		c.report.Unsaid = c.report.Rotated
		r = &Rotation{Oldest: c.first.Seq, Before: c.first.Prev}
	}
	switch {
	case c.first.Seq > r.Oldest:
		return errors.New(missing(r.Oldest, c.first.Seq-1))
	case len(r.Flaws) > 0:
		return errors.New(strings.Join(r.Flaws, "; "))
	case c.first.Seq == r.Oldest && c.first.Prev != r.Before && c.report.Events > 0 && c.report.Torn == 0:
		return fmt.Errorf("event %d is not the one with which the log should begin", c.first.Seq)
	case len(list) > 0 && c.last.Event == Rotate && list[len(list)-1] != c.path:
		return fmt.Errorf("%s is missing: the file before it announces more", c.path)
	}
	return c.kept(r)
}

// kept checks the lines that are kept beside the log.
func (c *checker) kept(r *Rotation) error {
	for _, path := range []string{keptPath(c.path), nextKept(c.path)} {
		n, hash, err := hashLines(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		case hash == r.Hash && n == r.Kept:
			c.report.Kept = n
			return nil
		}
	}
	if r.Kept > 0 {
		return errors.New(keptLost(c.path, r.Kept))
	}
	if _, err := os.Stat(keptPath(c.path)); err == nil {
		return fmt.Errorf("%s is not of this log", keptPath(c.path))
	}
	return nil
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
	case e.Seq > c.tail.seq+1:
		return errors.New(missing(c.tail.seq+1, e.Seq-1))
	case e.Prev != c.tail.hash:
		return fmt.Errorf("event %d does not continue the line before it", e.Seq)
	case e.Seq != c.tail.seq+1:
		return fmt.Errorf("event %d follows event %d", e.Seq, c.tail.seq)
	case c.tail.torn && e.Event != Repaired:
		return errors.New("the line before is not an event, and no event explains it")
	}
	if first {
		c.report.First, c.first = e.Time, e
	}
	if c.last = e; e.Rotation != nil {
		c.rotation = e.Rotation
	}
	c.report.Events++
	c.report.Unwritten += e.Unwritten
	c.report.Last = e.Time
	c.tail.advance(line, e.Seq)
	return nil
}

// pollInterval is the interval at which Follow looks for new events.
const pollInterval = 200 * time.Millisecond

// Read calls each for every event, oldest first.
func Read(path string, each func(Event) error) error {
	list, err := files(path)
	if err != nil || len(list) == 0 {
		return err
	}
	r, err := oldest(list)
	if err == nil {
		err = readKept(path, r.Oldest, each)
	}
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

// Follow is Read, but continues with new events until ctx ends.
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

// follow reads the new lines of open, or of the file that has taken its path. It returns the file
// to read next.
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

// lines calls each for every event and returns the length of the complete lines. A line that is no
// event is left out; Verify reports it.
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
