//go:build linux

package wire

import (
	"fmt"
	"path/filepath"
	"time"

	"keyway/internal/session"
	"keyway/internal/unixsock"
)

// RenewTimeout bounds the time for a holder to answer, and for its new program to report the
// versions that it understands.
const RenewTimeout = 5 * time.Second

// RenewHolder replaces the program of one session's holder.
func RenewHolder(dir, program string) error {
	conn, err := unixsock.Dial(filepath.Join(dir, session.SockName))
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * RenewTimeout))
	p := NewPeer(conn)
	if err := p.Write(Renew{program}); err != nil {
		return err
	}
	m, err := p.Read()
	if r, ok := m.(Refused); ok {
		return fmt.Errorf("%s cannot be renewed: %s", filepath.Base(dir), r.Text)
	}
	if err == nil {
		return errMalformed
	}
	again, err := dial(dir, Hello{}) // the new program answers; it listens on the same socket
	if err != nil {
		return err
	}
	again.Close()
	return nil
}
