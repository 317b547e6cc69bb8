// Package unixsock dials and binds unix sockets whose paths may be longer than the 107 bytes of
// sun_path (unix(7)). A home directory, a workspace's name and a session's name together are easily
// longer. Begin with Dial and Listen. Peer identifies the process at the other end.
package unixsock

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// maxPath is the largest length of a path, in bytes, on every system that keyway is built for
// (macOS has 104 bytes with the ending NUL, Linux 108).
const maxPath = 103

// Dial connects to the unix socket at path.
func Dial(path string) (*net.UnixConn, error) {
	var conn *net.UnixConn
	err := short(path, func(name string) (err error) {
		conn, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: name, Net: "unix"})
		return err
	})
	return conn, err
}

// Listen binds path with the given permissions. A socket that a dead process
// left there is replaced; one that answers is an error. Closing the listener
// does not remove the file: by then a successor may have bound it.
func Listen(path string, perm os.FileMode) (*net.UnixListener, error) {
	if conn, err := Dial(path); err == nil {
		conn.Close()
		return nil, &net.OpError{Op: "listen", Net: "unix", Err: errors.New("another process serves " + path)}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var l *net.UnixListener
	err := short(path, func(name string) (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, perm); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// short calls use with a name for path that fits into sun_path: path itself, or
// one through a descriptor of its directory.
func short(path string, use func(name string) error) error {
	if len(path) <= maxPath {
		return use(path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return use(filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), filepath.Base(path)))
}
