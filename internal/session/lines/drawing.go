//go:build linux

package lines

import (
	"keyway/internal/screen"
	"keyway/internal/session/wire"
)

// Drawing makes a sink of a screen: output is drawn on it.
type Drawing struct{ *screen.Screen }

func (d *Drawing) Put(_ wire.Stream, p []byte) error {
	_, err := d.Write(p)
	return err
}

func (d *Drawing) Picture([]byte) error { return nil }

func (d *Drawing) Gap(uint64) error { return nil }
