//go:build unix

package link

// Terminal tells the user of one ssh, on its terminal, of a connection that others share.
type Terminal struct{ line stallLine }

// OnTerminal returns the terminal that fd is; nil if it is none. It takes fd over.
func OnTerminal(fd int) *Terminal {
	s := newTerminal(fd)
	if s == nil {
		return nil
	}
	if s.lined() {
		s.close()
		return nil
	}
	return &Terminal{stallLine{screen: s}}
}

// Show shows a text in the corner, or takes away the one before if it is empty.
func (t *Terminal) Show(text string) { t.line.show(text) }

// Say writes a text, of lines, where the connection has ended.
func (t *Terminal) Say(text string) {
	t.line.clear()
	say(t.line.screen, text)
}

// Close takes the text away.
func (t *Terminal) Close() {
	t.line.clear()
	t.line.screen.close()
}
