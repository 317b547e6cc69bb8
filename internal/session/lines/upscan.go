//go:build linux

package lines

import (
	"bytes"

	"keyway/internal/session/wire"
)

// upScan is a sink that looks for anything that moves the cursor up.
type upScan struct {
	held   [3][]byte
	within [3]bool
	up     bool
}

func (u *upScan) Picture([]byte) error { return nil }
func (u *upScan) Gap(uint64) error     { return nil }

func (u *upScan) Put(s wire.Stream, p []byte) error {
	if u.up {
		return nil
	}
	p = append(u.held[s], p...)
	u.held[s] = nil
	for len(p) > 0 {
		if !u.within[s] {
			at := bytes.IndexByte(p, esc)
			if at < 0 {
				return nil
			}
			p = p[at:]
		}
		begun := u.within[s]
		n := controlAt(p, &u.within[s])
		if n == 0 {
			u.held[s] = append([]byte(nil), p...)
			return nil
		}
		u.up = u.up || !begun && goesUp(p[:n])
		p = p[n:]
	}
	return nil
}

// goesUp reports whether a sequence may move the cursor up, or change rows above it.
func goesUp(p []byte) bool {
	if len(p) < 2 {
		return false
	}
	if p[1] != '[' {
		return bytes.IndexByte([]byte("78=>()*+ ]P_^Xk"), p[1]) < 0 || p[1] == '8'
	}
	switch last := p[len(p)-1]; last {
	case 'h', 'l':
		return bytes.HasPrefix(p, []byte("\x1b[?6")) || bytes.HasPrefix(p, []byte("\x1b[?3"))
	default:
		return bytes.IndexByte([]byte("mKGCDXPBnctqsg@p`aIZ"), last) < 0
	}
}
