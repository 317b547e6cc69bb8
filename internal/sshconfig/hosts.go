package sshconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"keyway/internal/keyway"
)

// Bounds on the registry file and on its values.
const (
	maxHosts   = 4 << 20 // bytes
	maxEntries = 4096
	maxPlaces  = 256
	maxQuoted  = 64 // bytes of a wrong word that an error quotes
	maxFiles   = 32 // key files of a workspace
)

// hostsVersion is the form of hosts.json. It changes when an older keyway would
// misread the file.
const hostsVersion = 1

// hosts is the content of hosts.json.
type hosts struct {
	Version    int            `json:"version"`
	Places     []keyway.Place `json:"places"`
	Workspaces []Entry        `json:"workspaces"`
}

func (h hosts) encode() ([]byte, error) {
	h.Version = hostsVersion
	data, err := json.MarshalIndent(h, "", "  ")
	return append(data, '\n'), err
}

// decodeHosts reads hosts.json. Everything in it ends up in an ssh_config, so
// nothing is taken on trust.
func decodeHosts(data []byte) (hosts, error) {
	var h hosts
	if err := json.Unmarshal(data, &h); err != nil {
		return hosts{}, err
	}
	if h.Version != hostsVersion {
		return hosts{}, fmt.Errorf("it is of version %d, this keyway reads version %d", h.Version, hostsVersion)
	}
	if len(h.Workspaces) > maxEntries || len(h.Places) > maxPlaces {
		return hosts{}, fmt.Errorf("it has more than %d workspaces or %d places", maxEntries, maxPlaces)
	}
	for _, p := range h.Places {
		if _, err := keyway.ParsePlace(string(p)); err != nil {
			return hosts{}, err
		}
	}
	seen := map[keyway.Name]bool{}
	for _, e := range h.Workspaces {
		if err := e.Validate(); err != nil {
			return hosts{}, err
		}
		if seen[e.Name] {
			return hosts{}, fmt.Errorf("it has two workspaces %s", e.Name)
		}
		seen[e.Name] = true
	}
	return h, nil
}

// Validate refuses values that must not get into an ssh_config: login name and host key come from
// the workspace, and any program in it may have chosen them.
func (e Entry) Validate() error {
	if _, err := keyway.ParseName(string(e.Name)); err != nil {
		return err
	}
	if _, err := keyway.ParsePlace(string(e.Place)); err != nil {
		return err
	}
	if !keyway.IsLoginName(e.User) {
		return keyway.Errorf(keyway.GuestFailed, "the workspace %s has a login name that ssh cannot be given: %q", e.Name, clip(e.User, maxQuoted)).
			Advise(keyway.PlainUser)
	}
	if _, err := keyway.ParseName(e.Engine); e.Engine != "" && err != nil {
		return keyway.Errorf(keyway.GuestFailed, "the workspace %s has an engine of a strange name: %q", e.Name, clip(e.Engine, maxQuoted))
	}
	if _, err := ParseHostKey(e.HostKey); err != nil {
		return keyway.Errorf(keyway.GuestFailed, "the workspace %s has no usable host key: %w", e.Name, err).
			Advise(keyway.MakeAnew, e.Place.Of(e.Name))
	}
	return e.Sent.validate()
}

func (s Sent) validate() error {
	if len(s.Files) > maxFiles {
		return keyway.Errorf(keyway.BadConfig, "at most %d key files may be named for a workspace", maxFiles)
	}
	if s.Agent != "" && !CanName(s.Agent) {
		return unnameable(s.Agent)
	}
	for _, file := range s.Files {
		if !CanName(file) {
			return unnameable(file)
		}
	}
	return nil
}

func clip(s string, limit int) string {
	if len(s) > limit {
		return s[:limit] + "…"
	}
	return s
}

// errTooLarge is the error of readBounded for a file above its bound.
var errTooLarge = errors.New("the file is too large")

// readBounded reads a regular file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	// looked at before it is opened: opening a named pipe would wait
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errNotRegular
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(f, limit+1))
	if err == nil && n > limit {
		err = errTooLarge
	}
	return b.Bytes(), err
}

var errNotRegular = errors.New("not a regular file")

// Passing reports whether err, of reading a file, may be gone the next time, as when there is
// no descriptor left: ssh may read the file. One that is not there, or that this user may not
// read, ssh cannot read either.
func Passing(err error) bool {
	for _, lasting := range []error{nil, fs.ErrNotExist, fs.ErrPermission, syscall.ENOTDIR, syscall.EISDIR, errNotRegular, errTooLarge} {
		if errors.Is(err, lasting) {
			return false
		}
	}
	return true
}
