package link

import (
	"net"

	"keyway/internal/unixsock"
)

// peerPID is the process that listens at the other end; 0: it cannot be told.
func peerPID(conn *net.UnixConn) int {
	peer, err := unixsock.Peer(conn)
	if err != nil {
		return 0
	}
	return int(peer.Pid)
}
