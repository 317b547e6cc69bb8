//go:build linux

package session

import "errors"

// collapsers draw the streams of an output, each by itself. What is final comes in the
// order in which it was written.
type collapsers struct {
	// emit gets what is final; nil: only how far the programs go up is wanted.
	emit   func(stream, []byte) error
	window window    // of the job's terminal
	depths [3]uint64 // how far up the programs are known to go
	exact  bool      // they never go up further
	all    [3]*collapser
}

// unknownWindow is the size of a terminal of which the log does not tell it.
var unknownWindow = window{rows: 24, cols: 80}

// of is what draws a stream.
func (c *collapsers) of(s stream) *collapser {
	if c.all[s] == nil {
		w, pipe := c.window, s != terminal
		if pipe {
			w = pipeWindow
		}
		var emit func([]byte) error
		if c.emit != nil {
			emit = func(p []byte) error { return c.emit(s, p) }
		}
		c.all[s] = newCollapser(w, pipe, emit)
		c.all[s].depth, c.all[s].exact = c.depths[s], c.exact
	}
	return c.all[s]
}

// put takes output, and lets go what is final.
func (c *collapsers) put(s stream, p []byte) error {
	one := c.of(s)
	_ = one.write(p)
	one.release(one.final())
	return one.err
}

func (c *collapsers) picture([]byte) error { return nil }

func (c *collapsers) resized(w window) {
	if w.rows == 0 || w.cols == 0 {
		return
	}
	c.window = w
	if one := c.all[terminal]; one != nil {
		one.resize(w)
	}
}

// gap lets all go: nothing is known of what comes after it.
func (c *collapsers) gap(uint64) error {
	var err error
	for _, one := range c.all {
		if one != nil {
			one.flush()
			err = errors.Join(err, one.err)
		}
	}
	return err
}

// measure is how far up the programs of a job have gone from an offset of its log on.
// Most never go up at all, and need not be drawn for it.
func measure(r logReader, at uint64) (depths [3]uint64, err error) {
	scan := &upScan{}
	if _, err := r.copyTo(scan, at); err != nil || !scan.up {
		return depths, err
	}
	c := &collapsers{window: unknownWindow}
	_, err = r.copyTo(c, at)
	for s, one := range c.all {
		if one != nil {
			depths[s] = one.depth
		}
	}
	return depths, err
}
