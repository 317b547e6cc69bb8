//go:build linux

package lines

import (
	"keyway/internal/screen"
	"keyway/internal/session/wire"
)

// Drawing makes a sink of a screen: output is drawn on it.
type Drawing struct{ *screen.Screen }

// Put implements wire.Sink.
func (d *Drawing) Put(_ wire.Stream, p []byte) error {
	_, err := d.Write(p)
	return err
}

// Picture implements wire.Sink.
func (d *Drawing) Picture([]byte) error { return nil }

// Gap implements wire.Sink.
func (d *Drawing) Gap(uint64) error { return nil }
