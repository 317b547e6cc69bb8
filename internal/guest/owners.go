//go:build linux

package guest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/unixsock"
)

// owners are the uids that a workspace trusts: its own, root, and the owner of its Home at
// the place. The zero value trusts none.
type owners []uint32

func ownersOf(home keyway.Home) owners {
	list := owners{uint32(os.Getuid()), 0}
	st, err := os.Stat(string(home))
	if err != nil {
		return list
	}
	if uid := ownerOf(st); uid != overflowUID || isEveryUIDMapped() {
		list = append(list, uid)
	}
	return list
}

func (o owners) has(uid uint32) bool { return slices.Contains(o, uid) }

func ownerOf(st fs.FileInfo) uint32 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return sys.Uid
	}
	return overflowUID
}

// overflowUID is the uid that the kernel shows for every one that a user namespace does not map
// (user_namespaces(7)). Images also have a user of that number.
const overflowUID = 65534

// isEveryUIDMapped reports whether this user namespace maps each uid to itself, so that
// overflowUID is one user and does not stand for all unmapped ones.
func isEveryUIDMapped() bool {
	table, err := readBounded("/proc/self/uid_map", 4<<10)
	return err == nil && slices.EqualFunc(bytes.Fields(table), []string{"0", "0", "4294967295"},
		func(got []byte, want string) bool { return string(got) == want })
}

// readOwned reads a regular file of at most limit bytes that belongs to one of allowed and
// that no other user can write to. It follows no link, opens no device, and does not wait
// for a named pipe.
func readOwned(path string, limit int64, allowed owners) ([]byte, error) {
	st, err := os.Lstat(path)
	if err == nil {
		err = allowed.check(path, st)
	}
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err = f.Stat(); err == nil { // an allowed user may have changed it since
		err = allowed.check(path, st)
	}
	if err != nil {
		return nil, err
	}
	return readAtMost(f, path, limit)
}

// check returns an error unless only o can change the file st at path.
func (o owners) check(path string, st fs.FileInfo) error {
	switch {
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case !o.has(ownerOf(st)):
		return fmt.Errorf("%s belongs to uid %d, not to the workspace's user or the owner of its files", path, ownerOf(st))
	case st.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s can be written to by others (mode %#o)", path, st.Mode().Perm())
	}
	return nil
}

// ownListener returns the connections of its owners and closes all others. The uid is that
// of the connecting process at the time of connect (SO_PEERCRED, unix(7)).
type ownListener struct {
	net.Listener
	owners owners
	log    *logger
	told   owners // their refusals are in the log
}

// maxTold bounds the uids that are logged: a user who has many could fill the log.
const maxTold = 16

// Accept implements net.Listener. One goroutine calls it.
func (l *ownListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := peerOf(conn)
		if err == nil && l.owners.has(uid) {
			return conn, nil
		}
		conn.Close()
		l.tell(uid, err)
	}
}

// tell logs one refusal for each uid.
func (l *ownListener) tell(uid uint32, err error) {
	if l.told.has(uid) || len(l.told) >= maxTold {
		return
	}
	l.told = append(l.told, uid)
	l.log.warn("connection refused: only the workspace's user, the owner of its files and root may connect", "uid", uid, "error", err)
}

func peerOf(conn net.Conn) (uint32, error) {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return overflowUID, errors.New("not a unix socket")
	}
	cred, err := unixsock.Peer(unixConn)
	if err != nil {
		return overflowUID, err
	}
	return cred.Uid, nil
}
