package link

import (
	"errors"
	"net"
	"os"
)

// movable reports whether connections can be passed to another process.
const movable = false

func passTerminal(*net.UnixConn, int) error { return errors.ErrUnsupported }

func receiveNews(net.Conn, bool) (onTerminal screen, other paper, err error) { return nil, nil, nil }

func send(*net.UnixConn, net.Conn, screen, []byte) error { return errors.ErrUnsupported }

func passEnds(*net.UnixConn, *os.File, *os.File) error { return errors.ErrUnsupported }

func receiveEnds(net.Conn) (net.Conn, error) { return nil, errors.ErrUnsupported }

func sendEnd(*net.UnixConn) error { return errors.ErrUnsupported }

func receive(*net.UnixConn) (net.Conn, screen, []byte, error) {
	return nil, nil, nil, errors.ErrUnsupported
}

func sendScreen(*net.UnixConn, byte, screen) error { return errors.ErrUnsupported }

func receiveScreen(*net.UnixConn) (byte, screen, error) { return 0, nil, errors.ErrUnsupported }

func socketPair() (*net.UnixConn, *os.File, error) { return nil, nil, errors.ErrUnsupported }

func fileConn(*os.File) (*net.UnixConn, error) { return nil, errors.ErrUnsupported }
