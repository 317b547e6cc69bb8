package agent

import (
	"net"
	"os"

	"keyway/internal/unixsock"
)

// peerOf learns who connects and refuses other users: the socket's mode may have
// been changed. Connections that are no unix sockets are of tests.
func peerOf(conn net.Conn) (peer, error) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return peer{}, nil
	}
	cred, err := unixsock.Peer(u)
	if err != nil {
		return peer{}, err
	}
	p := peer{pid: int(cred.Pid), uid: int(cred.Uid), known: true}
	return p, mayConnect(p.uid, os.Geteuid())
}
