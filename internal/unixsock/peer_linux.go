package unixsock

import (
	"net"

	"golang.org/x/sys/unix"
)

// Peer returns the process at the other end of conn and its user, as they were when it
// connected (SO_PEERCRED, unix(7)). The pid is 0 if this pid namespace has none for it.
func Peer(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return cred, credErr
}
