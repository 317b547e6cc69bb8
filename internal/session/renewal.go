//go:build linux

package session

import (
	"fmt"
	"keyway/internal/unixsock"
	"path/filepath"
	"time"
)

// renewTimeout bounds how long a holder may take to answer, and its new program to say
// what it understands.
const renewTimeout = 5 * time.Second

// renewHolder has one session's holder become the program.
func renewHolder(dir, program string) error {
	conn, err := unixsock.Dial(filepath.Join(dir, sockName))
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * renewTimeout))
	p := newPeer(conn)
	if err := p.write(renewM{program}); err != nil {
		return err
	}
	m, err := p.read()
	if r, ok := m.(refused); ok {
		return fmt.Errorf("%s cannot be renewed: %s", filepath.Base(dir), r.Text)
	}
	if err == nil {
		return errMalformed
	}
	again, err := dial(dir, hello{}) // it listens before it is the other one, and answers after
	if err != nil {
		return err
	}
	again.close()
	return nil
}
