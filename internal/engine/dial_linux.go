package engine

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
)

// Dial connects to the guest that serves in home. A program in the workspace could replace the
// guest's socket by a link to any other socket of this machine. So Dial opens the socket without
// following links, and then connects through the descriptor. The length of the path is then not
// limited either (unix(7): sun_path has 108 bytes).
func Dial(ctx context.Context, home keyway.Home) (net.Conn, error) {
	fd, err := unix.Open(home.Socket(), unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: home.Socket(), Err: err}
	}
	f := os.NewFile(uintptr(fd), home.Socket())
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Mode().Type() != os.ModeSocket {
		return nil, &os.PathError{Op: "connect", Path: home.Socket(), Err: errors.New("not a socket")}
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(fd))
}
