package agent

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// peerOf learns who connects and refuses other users: the socket's mode may have
// been changed. Connections that are no unix sockets are of tests.
func peerOf(conn net.Conn) (peer, error) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return peer{}, nil
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return peer{}, err
	}
	if credErr != nil {
		return peer{}, credErr
	}
	p := peer{pid: int(cred.Pid), uid: int(cred.Uid), known: true}
	if p.uid != 0 && p.uid != os.Geteuid() {
		return p, fmt.Errorf("user %d is not user %d, whose agent this is", p.uid, os.Geteuid())
	}
	return p, nil
}
