//go:build linux

package guest

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"

	"keyway/internal/pty"
)

// terminal is a pseudo-terminal: the guest's end and the name of the other.
type terminal struct {
	master *os.File
	name   string
}

// openTerminal returns the two ends.
func openTerminal() (*terminal, *os.File, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, nil, err
	}
	return &terminal{master, slave.Name()}, slave, nil
}

// control runs f on the master's descriptor.
func (t *terminal) control(f func(fd int) error) error {
	raw, err := t.master.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// resize sets the terminal's size; the kernel tells the programs.
func (t *terminal) resize(w windowChange) error {
	size := unix.Winsize{Row: clamp16(w.Rows), Col: clamp16(w.Columns), Xpixel: clamp16(w.PixelWidth), Ypixel: clamp16(w.PixelHeight)}
	return t.control(func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &size) })
}

func clamp16(n uint32) uint16 { return uint16(min(n, 1<<16-1)) }

// foreground returns the process group in the terminal's foreground.
func (t *terminal) foreground() (int, error) {
	var group uint32
	err := t.control(func(fd int) (err error) {
		group, err = unix.IoctlGetUint32(fd, unix.TIOCGPGRP)
		return err
	})
	return int(group), err
}

// applyModes sets the modes of the client's terminal. It ignores unknown ones, as RFC 4254,
// section 8 requires.
func (t *terminal) applyModes(modes []terminalMode) error {
	return t.control(func(fd int) error {
		termios, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		for _, m := range modes {
			m.apply(termios)
		}
		return unix.IoctlSetTermios(fd, unix.TCSETS, termios)
	})
}

// terminalMode is one opcode and its argument.
type terminalMode struct {
	opcode byte
	value  uint32
}

// parseModes reads encoded terminal modes (RFC 4254, section 8). It stops at opcode 0 and
// at those from 160 on, whose arguments have no known length.
func parseModes(encoded string) []terminalMode {
	var modes []terminalMode
	for b := []byte(encoded); len(b) >= 5 && b[0] != 0 && b[0] < 160; b = b[5:] {
		modes = append(modes, terminalMode{opcode: b[0], value: binary.BigEndian.Uint32(b[1:])})
	}
	return modes
}

// characterModes maps opcodes of special characters to indexes in Termios.Cc. Linux has no
// VDSUSP, VFLUSH or VSTATUS.
var characterModes = map[byte]int{
	1: unix.VINTR, 2: unix.VQUIT, 3: unix.VERASE, 4: unix.VKILL, 5: unix.VEOF, 6: unix.VEOL, 7: unix.VEOL2,
	8: unix.VSTART, 9: unix.VSTOP, 10: unix.VSUSP, 12: unix.VREPRINT, 13: unix.VWERASE, 14: unix.VLNEXT,
	16: unix.VSWTC, 18: unix.VDISCARD,
}

var inputModes = map[byte]uint32{
	30: unix.IGNPAR, 31: unix.PARMRK, 32: unix.INPCK, 33: unix.ISTRIP, 34: unix.INLCR, 35: unix.IGNCR,
	36: unix.ICRNL, 37: unix.IUCLC, 38: unix.IXON, 39: unix.IXANY, 40: unix.IXOFF, 41: unix.IMAXBEL, 42: unix.IUTF8,
}

var localModes = map[byte]uint32{
	50: unix.ISIG, 51: unix.ICANON, 52: unix.XCASE, 53: unix.ECHO, 54: unix.ECHOE, 55: unix.ECHOK, 56: unix.ECHONL,
	57: unix.NOFLSH, 58: unix.TOSTOP, 59: unix.IEXTEN, 60: unix.ECHOCTL, 61: unix.ECHOKE, 62: unix.PENDIN,
}

var outputModes = map[byte]uint32{
	70: unix.OPOST, 71: unix.OLCUC, 72: unix.ONLCR, 73: unix.OCRNL, 74: unix.ONOCR, 75: unix.ONLRET,
}

// apply ignores speeds (128, 129) and character sizes (90 to 93): a pseudo-terminal has no
// line.
func (m terminalMode) apply(t *unix.Termios) {
	if i, ok := characterModes[m.opcode]; ok {
		t.Cc[i] = byte(m.value)
		if m.value == 255 { // "undefined"; Linux's _POSIX_VDISABLE is 0
			t.Cc[i] = 0
		}
		return
	}
	setFlag(&t.Iflag, inputModes[m.opcode], m.value != 0)
	setFlag(&t.Lflag, localModes[m.opcode], m.value != 0)
	setFlag(&t.Oflag, outputModes[m.opcode], m.value != 0)
}

func setFlag(flags *uint32, bit uint32, on bool) {
	if on {
		*flags |= bit
	} else {
		*flags &^= bit
	}
}
