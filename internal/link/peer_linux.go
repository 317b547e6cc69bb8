package link

import (
	"net"

	"keyway/internal/unixsock"
)

// peerPID returns the pid of the listening process at the other end; 0 if unknown.
func peerPID(conn *net.UnixConn) int {
	peer, err := unixsock.Peer(conn)
	if err != nil {
		return 0
	}
	return int(peer.Pid)
}
