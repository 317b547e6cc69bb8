package dirs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// agents returns the directory of the record of agents: a symbolic link to the socket of
// each, since links are made and read whole. Runtime is not the same for a command that
// has another XDG_RUNTIME_DIR, or that found a directory in its way.
func agents() (string, error) {
	dir, err := file(State, "agents")
	if err != nil {
		return "", err
	}
	return dir, refused(dir, "state", makePrivate(dir))
}

// RecordAgent records that an agent of keyway's listens at the path. The agent calls ended
// when its socket is gone; the record of one that was killed stays.
func RecordAgent(socket string) (ended func(), err error) {
	dir, err := agents()
	if err != nil {
		return nil, err
	}
	name := sha256.Sum256([]byte(socket))
	link := filepath.Join(dir, hex.EncodeToString(name[:16]))
	if err := os.Symlink(socket, link); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return func() {
		if _, err := os.Lstat(socket); errors.Is(err, fs.ErrNotExist) { // else another listens there by now
			os.Remove(link)
		}
	}, nil
}

// Agents returns the sockets of all agents of keyway's that this user has started on this
// machine, as far as they are there. Some may have been killed.
func Agents() ([]string, error) {
	dir, err := agents()
	if err != nil {
		return nil, err
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var sockets []string
	for _, entry := range list {
		link := filepath.Join(dir, entry.Name())
		socket, err := os.Readlink(link)
		if err != nil {
			continue
		}
		if st, err := os.Lstat(socket); err == nil && st.Mode()&fs.ModeSocket != 0 {
			sockets = append(sockets, socket)
		}
	}
	return sockets, nil
}
