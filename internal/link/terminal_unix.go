//go:build unix

package link

import "golang.org/x/sys/unix"

// Terminal tells the user of one ssh, on its terminal, of a connection that others share.
type Terminal struct{ on terminal }

// OnTerminal returns the terminal that fd is; nil if it is none. It takes fd over.
func OnTerminal(fd int) *Terminal {
	if !isTerminal(fd) {
		unix.Close(fd)
		return nil
	}
	return &Terminal{terminal{device: descriptor(fd)}}
}

// Show shows a text in the corner, or takes away the one before if it is empty.
func (t *Terminal) Show(text string) { t.on.show(text) }

// Say writes a text, of lines, where the connection has ended.
func (t *Terminal) Say(text string) { t.on.ended(text, true) }

// Close takes the text away.
func (t *Terminal) Close() {
	t.on.leave()
	t.on.close()
}
