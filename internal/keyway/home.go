package keyway

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Home is the directory where one workspace keeps all it needs to persist: the
// node sees it at the place, the guest sees the same directory inside the
// workspace (GuestHome in a container). The node makes it; its parent at the
// place is 0700, so only its owner and the workspace reach what is inside.
//
//	authorized_keys  who may enter, read at each login    written by the node
//	bin/             the guest program, read-only         mounted or linked by the engine
//	host_key         Ed25519 private key, OpenSSH form    written by the guest, once
//	guest.json       GuestInfo, when the guest is ready   written by the guest, at each start
//	guest.sock       SSH, for the node to dial            bound by the guest
//	agent.sock       what SSH_AUTH_SOCK names             bound by the guest
//	sessions/        one directory a session              written by its holder
type Home string

// GuestHome is where a container sees its Home.
const GuestHome Home = "/.keyway"

// GuestProgram is the guest's file name in Bin: programs that are both laptop
// and guest (a plain go build) know by it which one they are.
const GuestProgram = "keyway-guest"

// EnvHome and EnvName tell programs in a workspace where its Home is and how
// it is called.
const (
	EnvHome = "KEYWAY_HOME"
	EnvName = "KEYWAY_WORKSPACE"
)

func (h Home) file(name string) string { return filepath.Join(string(h), name) }

// AuthorizedKeys is the file with the public keys that may enter.
func (h Home) AuthorizedKeys() string { return h.file("authorized_keys") }

// Bin is the directory with the guest program and the names it goes by.
func (h Home) Bin() string { return h.file("bin") }

// Program is the guest program itself.
func (h Home) Program() string { return filepath.Join(h.Bin(), GuestProgram) }

// HostKey is the guest's private host key.
func (h Home) HostKey() string { return h.file("host_key") }

// Info is the file with the GuestInfo.
func (h Home) Info() string { return h.file("guest.json") }

// Socket is the unix socket on which the guest serves SSH.
func (h Home) Socket() string { return h.file("guest.sock") }

// AgentSocket is the one path of the forwarded agent inside the workspace.
func (h Home) AgentSocket() string { return h.file("agent.sock") }

// Sessions is the directory with one directory a session.
func (h Home) Sessions() string { return h.file("sessions") }

// GuestInfo is what a guest says of itself once it serves: its presence means
// ready.
type GuestInfo struct {
	HostKey string `json:"hostKey"` // public, in authorized_keys form
	User    string `json:"user"`    // login name that ssh must use
	UID     int    `json:"uid"`
	Home    string `json:"home"`            // home directory of User
	Shell   string `json:"shell,omitempty"` // login shell; empty: the image has none
	Version string `json:"version"`         // of the guest program
	PID     int    `json:"pid"`             // of the serving process, as the guest sees it
}

// maxInfo bounds guest.json in bytes: inside a container it can be rewritten by
// whatever runs there.
const maxInfo = 64 << 10

// ReadInfo reads h.Info. The error wraps fs.ErrNotExist while the guest has not
// become ready.
func (h Home) ReadInfo() (GuestInfo, error) {
	f, err := os.Open(h.Info())
	if err != nil {
		return GuestInfo{}, err
	}
	defer f.Close()
	return DecodeInfo(f)
}

// DecodeInfo reads a GuestInfo, at most 64 KiB of it.
func DecodeInfo(r io.Reader) (GuestInfo, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxInfo+1))
	if err != nil {
		return GuestInfo{}, err
	}
	var info GuestInfo
	if len(data) > maxInfo {
		return GuestInfo{}, fmt.Errorf("the guest's description of itself is over %d bytes", maxInfo)
	}
	if err := json.Unmarshal(data, &info); err != nil {
		return GuestInfo{}, fmt.Errorf("the guest's description of itself: %w", err)
	}
	return info, nil
}

// WriteFile writes data to path so that readers see the old content or the new,
// never a part, also after a crash. A full disk is an Error of kind NoSpace.
func WriteFile(path string, data []byte, perm os.FileMode) error {
	err := writeFile(path, data, perm)
	if err != nil && isNoSpace(err) {
		return Errorf(NoSpace, "no space left to write %s: %w", path, err).
			Hint("see what is full: df -h %s", filepath.Dir(path))
	}
	return err
}

func writeFile(path string, data []byte, perm os.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
