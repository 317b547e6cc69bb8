package agent

import "net"

// peerOf cannot identify the peer: the access list of the pipe or the socket keeps other users
// out.
func peerOf(net.Conn) (peer, error) { return peer{}, nil }
