//go:build linux

package holder

import (
	"os"

	"golang.org/x/sys/unix"

	"keyway/internal/session/wire"
)

func setWindow(master *os.File, w wire.Window) {
	control(master, func(fd int) {
		_ = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: w.Rows, Col: w.Cols})
	})
}

// setLine gives a new terminal the erase key of the terminal that shows it first, and UTF-8 input
// mode; 0 means the usual key.
func setLine(master *os.File, erase byte) {
	control(master, func(fd int) {
		t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return
		}
		t.Iflag |= unix.IUTF8
		if erase != 0 {
			t.Cc[unix.VERASE] = erase
		}
		_ = unix.IoctlSetTermios(fd, unix.TCSETS, t)
	})
}
