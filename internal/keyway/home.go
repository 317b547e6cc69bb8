package keyway

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Home is the directory where one workspace keeps all it needs to persist: the
// node sees it at the place, the guest sees the same directory inside the
// workspace (GuestHome in a container). The node makes it; its parent at the
// place is 0700, so only its owner and the workspace reach what is inside.
//
//	authorized_keys  who may enter, read at each login    written by the node
//	bin/             the guest program, read-only         mounted or linked by the engine
//	guest.json       GuestInfo, when the guest is ready   written by the guest, at each start
//	guest.sock       SSH, for the node to dial            bound by the guest's first process
//	agent.sock       what SSH_AUTH_SOCK names             bound by the guest's first process
//	data/            what only the workspace's user sees  a volume in a container
//	data/sessions/   one directory a session              written by its holder
//	data/home/       home of a user who has none          made by the guest
//
// A container's Home is open to every user and has the sticky bit, because the
// workspace's user may be any uid: what is in it belongs to the owner at the
// place or to that user, and no third one can replace it. The guest makes its
// own part before anything of the image starts.
type Home string

// GuestHome is the path of the Home in a container.
const GuestHome Home = "/.keyway"

// GuestProgram is the guest's file name in Bin: programs that are both laptop
// and guest (a plain go build) know by it which one they are.
const GuestProgram = "keyway-guest"

// Links to the guest program in Bin: the names by which it is the sessions' command line, and the
// copy program of images that have none.
const (
	SessionLink = "keyway"
	CopyLink    = "scp"
)

// GuestLinks returns all names of links to the guest program.
func GuestLinks() []string { return []string{SessionLink, CopyLink} }

// EnvHome and EnvName tell programs in a workspace where its Home is and how
// it is called.
const (
	EnvHome = "KEYWAY_HOME"
	EnvName = "KEYWAY_WORKSPACE"
)

// Has reports whether a path, as the workspace sees it, is the Home or in it.
func (h Home) Has(p string) bool {
	p = path.Clean("/" + p)
	return p == string(h) || strings.HasPrefix(p, string(h)+"/")
}

func (h Home) file(name string) string { return filepath.Join(string(h), name) }

// AuthorizedKeys returns the file with the public keys that may enter.
func (h Home) AuthorizedKeys() string { return h.file("authorized_keys") }

// Bin returns the directory with the guest program and its other names.
func (h Home) Bin() string { return h.file("bin") }

// Program returns the path of the guest program.
func (h Home) Program() string { return filepath.Join(h.Bin(), GuestProgram) }

// Info returns the file with the GuestInfo.
func (h Home) Info() string { return h.file("guest.json") }

// Socket returns the unix socket on which the guest serves SSH.
func (h Home) Socket() string { return h.file("guest.sock") }

// AgentSocket returns the fixed path of the forwarded agent inside the workspace.
func (h Home) AgentSocket() string { return h.file("agent.sock") }

// Data returns the directory for files that only the workspace's user may read. In a container it
// is a volume: the place's owner must not read these files, and they must not be in the owner's
// home directory.
func (h Home) Data() string { return h.file("data") }

// Sessions returns the directory that holds one directory for each session.
func (h Home) Sessions() string { return filepath.Join(h.Data(), "sessions") }

// UserHome returns the home directory of a user whose image gives him none.
func (h Home) UserHome() string { return filepath.Join(h.Data(), "home") }

// GuestInfo is a guest's description of itself once it serves, and the host key that the node
// has given it. Everything except the key is the workspace's own claim.
type GuestInfo struct {
	// HostKey is public, in authorized_keys form. It comes from the node's record,
	// never from the guest; empty for a workspace of an older keyway.
	HostKey string `json:"hostKey,omitempty"`
	User    string `json:"user"` // login name that ssh must use
	UID     int    `json:"uid"`
	Home    string `json:"home"`            // home directory of User
	Shell   string `json:"shell,omitempty"` // login shell; empty: the image has none
	Version string `json:"version"`         // of the guest program
	PID     int    `json:"pid"`             // of the serving process, as the guest sees it
}

// maxInfo bounds guest.json in bytes: inside a container it can be rewritten by
// whatever runs there.
const maxInfo = 64 << 10

// ReadInfo reads h.Info, for programs in the workspace. The error wraps
// fs.ErrNotExist while the guest has not become ready.
func (h Home) ReadInfo() (GuestInfo, error) {
	f, err := os.Open(h.Info())
	if err != nil {
		return GuestInfo{}, err
	}
	defer f.Close()
	return DecodeInfo(f)
}

// DecodeInfo reads a guest's description of itself, of at most 64 KiB. It ignores a host key in it,
// and returns an error for a text that no guest of keyway writes.
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
	if err := info.check(); err != nil {
		return GuestInfo{}, err
	}
	info.HostKey = ""
	return info, nil
}

// maxInfoText bounds each text of a GuestInfo in bytes; PATH_MAX of Linux.
const maxInfoText = 4096

// check refuses values that cannot be a user or a path, and those that a terminal obeys.
func (i GuestInfo) check() error {
	for what, text := range map[string]string{"user": i.User, "home": i.Home, "shell": i.Shell, "version": i.Version} {
		if len(text) > maxInfoText || !utf8.ValidString(text) || strings.ContainsFunc(text, isUnprintable) {
			return fmt.Errorf("the guest's description of itself has no good %s: %.64q", what, text)
		}
	}
	if !IsLoginName(i.User) {
		return fmt.Errorf("the guest's description of itself names a user that ssh would not take: %.64q", i.User)
	}
	return nil
}

// isUnprintable reports controls, also those that reorder text.
func isUnprintable(r rune) bool { return !strconv.IsPrint(r) }

// WriteFile writes data to path so that readers see the old content or the new,
// never a part, also after a crash. A full disk is an Error of kind NoSpace.
func WriteFile(path string, data []byte, perm os.FileMode) error {
	err := writeFile(path, data, perm)
	if err != nil && IsNoSpace(err) {
		return Errorf(NoSpace, "no space left to write %s: %w", path, err).
			Hint("%s", SeeFull(filepath.Dir(path)))
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

// FileStamp changes when the file at path does.
func FileStamp(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
}
