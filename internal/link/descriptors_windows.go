package link

import (
	"errors"
	"net"
)

// movable says whether connections can be handed to another process.
const movable = false

func passTerminal(*net.UnixConn, int) error { return errors.ErrUnsupported }

func receiveTerminal(net.Conn) (screen, error) { return nil, nil }

func sendDescriptors(*net.UnixConn, net.Conn, screen) error { return errors.ErrUnsupported }

func receiveDescriptors(*net.UnixConn) (net.Conn, screen, error) {
	return nil, nil, errors.ErrUnsupported
}
