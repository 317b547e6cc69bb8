//go:build linux

package lines

import (
	"keyway/internal/screen"
	"keyway/internal/session/wire"
)

// Drawing is a sink that draws output on a screen.
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
