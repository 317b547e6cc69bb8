package agent

import "net"

// peerOf has no means here: the pipe's or the socket's access list is what keeps
// other users out.
func peerOf(net.Conn) (peer, error) { return peer{}, nil }
