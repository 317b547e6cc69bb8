//go:build unix

package main

import (
	"net"
	"os"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
)

// passDescriptor sends conn's descriptor over the unix socket that to is, with
// the one byte that ssh's receiver expects beside it. ssh then owns the
// connection, and no process of ours copies its bytes.
func passDescriptor(to *os.File, conn *net.UnixConn) error {
	f, err := conn.File()
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.Sendmsg(int(to.Fd()), []byte{0}, unix.UnixRights(int(f.Fd())), nil, 0)
	if err != nil {
		return keyway.Errorf(keyway.Usage, "standard output is no socket to pass a descriptor over: %w", err).
			Hint("--fdpass is for ssh with ProxyUseFdpass yes; leave it out otherwise")
	}
	return nil
}
