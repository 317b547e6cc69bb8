//go:build linux

package lines

import (
	"errors"

	"keyway/internal/session/joblog"
	"keyway/internal/session/wire"
)

// Collapsers reduce the streams of an output, each separately. They emit final lines in the
// order in which they were written.
type Collapsers struct {
	// Emit receives final lines; nil: only the depths are wanted.
	Emit   func(wire.Stream, []byte) error
	Window wire.Window // of the job's terminal
	Depths [3]uint64   // rows that the programs are known to move up
	Exact  bool        // Depths are the maximum
	All    [3]*Collapser
}

// UnknownWindow is the size of a terminal whose size the log does not have.
var UnknownWindow = wire.Window{Rows: 24, Cols: 80}

// Of returns the Collapser of a stream.
func (c *Collapsers) Of(s wire.Stream) *Collapser {
	if c.All[s] == nil {
		w, pipe := c.Window, s != wire.TTY
		if pipe {
			w = pipeWindow
		}
		var emit func([]byte) error
		if c.Emit != nil {
			emit = func(p []byte) error { return c.Emit(s, p) }
		}
		c.All[s] = newCollapser(w, pipe, emit)
		c.All[s].Depth, c.All[s].Exact = c.Depths[s], c.Exact
	}
	return c.All[s]
}

// Put handles output, and emits lines that become final.
func (c *Collapsers) Put(s wire.Stream, p []byte) error {
	one := c.Of(s)
	_ = one.Write(p)
	one.Release(one.Final())
	return one.Err
}

// Picture implements wire.Sink. It is not called: a Collapser gets all output.
func (c *Collapsers) Picture([]byte) error { return nil }

// Resized implements wire.Resizable.
func (c *Collapsers) Resized(w wire.Window) {
	if w.Rows == 0 || w.Cols == 0 {
		return
	}
	c.Window = w
	if one := c.All[wire.TTY]; one != nil {
		one.resize(w)
	}
}

// Gap emits everything: the output after it is unknown.
func (c *Collapsers) Gap(uint64) error {
	var err error
	for _, one := range c.All {
		if one != nil {
			one.flush()
			err = errors.Join(err, one.Err)
		}
	}
	return err
}

// Measure returns how many rows the programs of a job have moved up, from an offset of its log
// on. Most never move up, and their output need not be drawn for that.
func Measure(r joblog.Reader, at uint64) (depths [3]uint64, err error) {
	scan := &upScan{}
	if _, err := r.CopyTo(scan, at); err != nil || !scan.up {
		return depths, err
	}
	c := &Collapsers{Window: UnknownWindow}
	_, err = r.CopyTo(c, at)
	for s, one := range c.All {
		if one != nil {
			depths[s] = one.Depth
		}
	}
	return depths, err
}
