// Package sshconfig lets the user's own ssh reach workspaces. It remembers which workspaces this
// laptop knows, and writes from that an ssh_config with a Host entry for each, beside a known_hosts
// with the host key of each. It adds the one Include line for them to ~/.ssh/config, and asks ssh
// -G for the configuration of a host name. It changes no other file of the user's. Begin with Open
// and Entry.
package sshconfig

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"keyway/internal/filelock"
	"keyway/internal/keyway"
)

// Entry is the laptop's record of one workspace.
type Entry struct {
	Name         keyway.Name  `json:"name"`
	Place        keyway.Place `json:"place"`
	Engine       string       `json:"engine"`
	User         string       `json:"user"`    // login name in the workspace
	HostKey      string       `json:"hostKey"` // public, in authorized_keys form
	ForwardAgent bool         `json:"forwardAgent,omitempty"`
	Created      time.Time    `json:"created"`

	// Added is the time at which this laptop registered the workspace; Add sets it.
	Added time.Time `json:"added"`
	// Proved is the time at which the host key was last proved. Add sets it, so only proved
	// keys are added. It is zero for keys that an earlier keyway took on trust: the agent does
	// not count those as workspaces.
	Proved time.Time `json:"proved,omitzero"`

	// Mux reports that ssh may have sessions on the connection that keyway's mux holds.
	Mux bool `json:"mux,omitempty"`

	// Keys are the keys that the user has named to enter; nil: those that ssh has for the
	// place.
	Keys []string `json:"keys,omitempty"`
	// Sent records the keys that were last sent to the place.
	Sent Sent `json:"sent,omitzero"`
}

// Sent identifies the keys that a workspace was given, and has the agent and files with which ssh
// finds them.
type Sent struct {
	Holds string    `json:"holds"` // identifies the keys that the agent held
	At    time.Time `json:"at"`
	// Agent is the socket of the agent that holds them; empty: the usual one.
	Agent string `json:"agent,omitempty"`
	// Files are private key files that no agent holds.
	Files []string `json:"files,omitempty"`
}

// SameKey refuses another host key than the one that is remembered.
func (e Entry) SameKey(shown string) error {
	if sameKey(e.HostKey, shown) {
		return nil
	}
	return keyway.Errorf(keyway.HostKeyChanged, "the host key of %s is not the one it had: it shows %s, but %s is remembered",
		e.Name, fingerprint(shown), fingerprint(e.HostKey)).
		Advise(keyway.AskWhoMadeIt, e.Place.Of(e.Name))
}

// SameWorkspace refuses a workspace whose place remembers another host key for it than e
// has. A workspace of an older keyway has none, and so has one that its place does not know.
func (e Entry) SameWorkspace(w keyway.Workspace) error {
	if e.HostKey == "" || w.Guest.HostKey == "" {
		return nil
	}
	return e.SameKey(w.Guest.HostKey)
}

// Fingerprint returns the host key's fingerprint as ssh shows it.
func (e Entry) Fingerprint() string { return fingerprint(e.HostKey) }

// Client configures the connections of the generated ssh_config.
type Client struct {
	// Program is the absolute path of keyway.
	Program string
	// Agent is the agent's socket; empty leaves it to the environment.
	Agent string
	// Forward is the socket to forward where a workspace asks for the agent; empty
	// forwards what ssh itself uses.
	Forward string
	// Mux is the directory of the mux's sockets; empty: this system has no mux.
	Mux string
}

// Store is the registry of the workspaces this laptop knows. Several processes
// may use one at the same time.
type Store struct {
	dir    string
	client Client
}

// Open returns the Store in the state directory dir. Nothing is read or written yet.
func Open(dir string, c Client) *Store { return &Store{dir: dir, client: c} }

// ConfigPath returns the generated ssh_config, which ~/.ssh/config includes.
func (s *Store) ConfigPath() string { return filepath.Join(s.dir, "ssh_config") }

// KnownHostsPath returns the generated known_hosts.
func (s *Store) KnownHostsPath() string { return filepath.Join(s.dir, "known_hosts") }

// unprovedPath returns the known_hosts file of the keys that have not proved themselves: ssh is
// strict about them, and the agent does not trust them.
func (s *Store) unprovedPath() string { return filepath.Join(s.dir, "known_hosts_unproved") }

func (s *Store) hostsPath() string { return filepath.Join(s.dir, "hosts.json") }

// Add records a workspace whose host key has proved itself, or its changes. A name that is in use
// at another place is NameTaken; another host key than the remembered one is HostKeyChanged.
func (s *Store) Add(e Entry) error {
	if err := e.Validate(); err != nil {
		return err
	}
	return s.change(func(h *hosts) error { return h.add(e) })
}

// Proved records that the key of e, as recorded, has proved itself.
func (s *Store) Proved(e Entry) error {
	return s.change(func(h *hosts) error {
		for i, known := range h.Workspaces {
			if known.Name == e.Name && known.Place == e.Place && known.HostKey == e.HostKey {
				h.Workspaces[i].Proved = time.Now().UTC()
			}
		}
		return nil
	})
}

// SetMux switches the mux on or off for ssh's sessions of e.
func (s *Store) SetMux(e Entry, on bool) error {
	return s.change(func(h *hosts) error {
		for i, known := range h.Workspaces {
			if known.Name == e.Name && known.Place == e.Place && known.HostKey == e.HostKey {
				h.Workspaces[i].Mux = on
			}
		}
		return nil
	})
}

// Sent notes that the keys that may enter e were sent.
func (s *Store) Sent(e Entry, sent Sent) error {
	return s.change(func(h *hosts) error {
		for i, known := range h.Workspaces {
			if known.Name == e.Name && known.Place == e.Place && known.HostKey == e.HostKey {
				h.Workspaces[i].Sent = sent
			}
		}
		return nil
	})
}

// Remove forgets a workspace, and with the last one at a place the place. One that
// is not known is forgotten already.
func (s *Store) Remove(place keyway.Place, name keyway.Name) error {
	return s.change(func(h *hosts) error {
		h.Workspaces = slices.DeleteFunc(h.Workspaces, func(e Entry) bool { return e.Place == place && e.Name == name })
		if !slices.ContainsFunc(h.Workspaces, func(e Entry) bool { return e.Place == place }) {
			h.Places = slices.DeleteFunc(h.Places, func(p keyway.Place) bool { return p == place })
		}
		return nil
	})
}

// List returns all entries, sorted by name.
func (s *Store) List() ([]Entry, error) {
	h, err := s.read()
	return h.Workspaces, err
}

// Lookup finds the workspace that arg names: NAME, or PLACE/NAME.
func (s *Store) Lookup(arg string) (Entry, error) {
	h, err := s.read()
	if err != nil {
		return Entry{}, err
	}
	return h.lookup(arg)
}

// CheckPlace refuses a place that is one of the workspaces.
func (s *Store) CheckPlace(p keyway.Place) error {
	h, err := s.read()
	if err != nil {
		return err
	}
	return h.checkPlace(p)
}

// Places returns the places where this laptop knows workspaces, sorted. It omits others that an
// earlier keyway remembered.
func (s *Store) Places() ([]keyway.Place, error) {
	h, err := s.read()
	return h.Places, err
}

// ForgetPlace forgets a place and the workspaces there, which live on.
func (s *Store) ForgetPlace(p keyway.Place) error {
	return s.change(func(h *hosts) error {
		h.Places = slices.DeleteFunc(h.Places, func(known keyway.Place) bool { return known == p })
		h.Workspaces = slices.DeleteFunc(h.Workspaces, func(e Entry) bool { return e.Place == p })
		return nil
	})
}

// Sync rewrites the derived files if they do not match the registry: after a crash between two
// files, or when keyway has been moved.
func (s *Store) Sync() error {
	return s.change(func(*hosts) error { return nil })
}

// change applies edit to the registry and writes it and what derives from it. A
// crash between two files is made good by the next change.
func (s *Store) change(edit func(*hosts) error) error {
	unlock, err := filelock.Lock(filepath.Join(s.dir, "hosts.lock"))
	if err != nil {
		return s.unwritable(err)
	}
	defer unlock()
	h, err := s.read()
	if err != nil {
		return err
	}
	if err := edit(&h); err != nil {
		return err
	}
	h.sort()
	return s.write(h)
}

func (s *Store) read() (hosts, error) {
	data, err := readBounded(s.hostsPath(), maxHosts)
	if os.IsNotExist(err) {
		return hosts{}, nil
	}
	var failed *fs.PathError
	if errors.As(err, &failed) { // the file may be sound
		return hosts{}, keyway.Errorf(keyway.BadConfig, "the list of workspaces cannot be read: %w", err)
	}
	var h hosts
	if err == nil {
		h, err = decodeHosts(data)
	}
	if err != nil {
		return hosts{}, keyway.Errorf(keyway.BadConfig, "the list of workspaces %s is damaged: %w", s.hostsPath(), err).
			Advise(keyway.AddEachAgain, s.hostsPath())
	}
	return h, nil
}

// write writes the registry, then the host keys, then the entries that need
// them.
func (s *Store) write(h hosts) error {
	config, err := renderConfig(h.Workspaces, s.client, s.KnownHostsPath(), s.unprovedPath())
	if err != nil {
		return err
	}
	registry, err := h.encode()
	if err != nil {
		return err
	}
	for _, f := range []struct {
		path string
		data []byte
	}{
		{s.hostsPath(), registry},
		{s.KnownHostsPath(), renderKnownHosts(h.Workspaces, true)},
		{s.unprovedPath(), renderKnownHosts(h.Workspaces, false)},
		{s.ConfigPath(), config},
	} {
		old, err := os.ReadFile(f.path)
		if err == nil && bytes.Equal(old, f.data) || os.IsNotExist(err) && f.path == s.unprovedPath() && len(f.data) == 0 {
			continue
		}
		if err := keyway.WriteFile(f.path, f.data, 0o600); err != nil {
			return s.unwritable(err)
		}
	}
	return nil
}

func (s *Store) unwritable(err error) error {
	if keyway.Is(err, keyway.NoSpace) {
		return err
	}
	return keyway.Errorf(keyway.BadConfig, "keyway's record of workspaces cannot be written: %w", err).
		Hint("see who owns it: ls -la %s", s.dir)
}

func (h *hosts) add(e Entry) error {
	if err := h.addPlace(e.Place); err != nil {
		return err
	}
	if err := h.checkNotPlace(e.Name); err != nil {
		return err
	}
	e.Added = time.Now().UTC()
	e.Proved = e.Added
	i := slices.IndexFunc(h.Workspaces, func(old Entry) bool { return old.Name == e.Name })
	if i < 0 {
		if len(h.Workspaces) >= maxEntries {
			return keyway.Errorf(keyway.NameTaken, "this laptop knows %d workspaces already, which is as many as it can", maxEntries).
				Advise(keyway.RemoveSome)
		}
		h.Workspaces = append(h.Workspaces, e)
		return nil
	}
	old := h.Workspaces[i]
	if old.Place != e.Place {
		return nameInUse(old)
	}
	if err := old.SameKey(e.HostKey); err != nil {
		return err
	}
	e.Mux = e.Mux || old.Mux
	h.Workspaces[i] = e
	return nil
}

// checkNotPlace refuses the name of a place: the workspace's Host entry would
// hide the place's own, and the route to the place would lead into itself.
func (h *hosts) checkNotPlace(n keyway.Name) error {
	for _, p := range h.Places {
		if strings.EqualFold(hostOf(p), string(n)) {
			return keyway.Errorf(keyway.NameTaken, "%s is the name of a place: ssh %s would no longer lead to it", n, n).
				Advise(keyway.OtherName, string(n)+"-1")
		}
	}
	return nil
}

func (h *hosts) addPlace(p keyway.Place) error {
	if slices.Contains(h.Places, p) {
		return nil
	}
	if len(h.Places) >= maxPlaces {
		return keyway.Errorf(keyway.Usage, "this laptop knows %d places already, which is as many as it can", maxPlaces)
	}
	h.Places = append(h.Places, p)
	return nil
}

func (h *hosts) lookup(arg string) (Entry, error) {
	name, place := arg, ""
	if i := strings.LastIndexByte(arg, '/'); i >= 0 {
		place, name = arg[:i], arg[i+1:]
		if place == "" || name == "" { // rm "$PLACE/train", with PLACE empty, means no train of any place
			return Entry{}, keyway.Errorf(keyway.Usage, "%q is neither a workspace's name nor PLACE/NAME", arg).Advise(keyway.SeeOrMake)
		}
	}
	for _, e := range h.Workspaces {
		if string(e.Name) == name && (place == "" || string(e.Place) == place) {
			return e, nil
		}
	}
	return Entry{}, h.unknown(place, name)
}

// checkPlace refuses a place that is a workspace: ssh knows that by the entry that
// keyway wrote, whichever user it is given, and so a node would be put into it.
func (h *hosts) checkPlace(p keyway.Place) error {
	at := slices.IndexFunc(h.Workspaces, func(e Entry) bool { return string(e.Name) == hostOf(p) })
	if at < 0 || slices.Contains(h.Places, p) {
		return nil
	}
	return keyway.Errorf(keyway.Usage, "%s is a workspace, not a place", p).Advise(keyway.IsWorkspace, h.Workspaces[at].Place.Of(h.Workspaces[at].Name))
}

// unknown returns the error for an unknown workspace, with the most helpful advice.
func (h *hosts) unknown(place, name string) error {
	if place != "" {
		if err := h.checkPlace(keyway.Place(place)); err != nil {
			return keyway.AsError(err).Advise(keyway.IsAJob, place, name)
		}
		for _, e := range h.Workspaces {
			if string(e.Name) == name {
				return keyway.Errorf(keyway.NotFound, "there is no workspace %s at %s", name, place).
					Advise(keyway.IsElsewhere, e.Place.Of(e.Name))
			}
		}
	}
	if place == "" && slices.Contains(h.Places, keyway.Place(name)) {
		return keyway.Errorf(keyway.NotFound, "%s is a place, not a workspace", name).Advise(keyway.IsAPlace, name)
	}
	err := keyway.Errorf(keyway.NotFound, "there is no workspace %q that this laptop knows", name)
	if near, ok := h.nearest(name); ok {
		return err.Advise(keyway.MeantWorkspace, near)
	}
	if _, e := keyway.ParsePlace(place); e == nil && place != "" {
		return err.Advise(keyway.AddIfMade, keyway.Place(place).Of(keyway.Name(name))).Advise(keyway.SeeAt, place)
	}
	return err.Advise(keyway.SeeOrMake)
}

// nearest returns the known name that differs from name by the fewest letters, if that number is
// small enough for a typing error.
func (h *hosts) nearest(name string) (workspace string, ok bool) {
	const maxSlips = 2
	if len(name) > keyway.MaxName+maxSlips {
		return "", false
	}
	best, distance := "", maxSlips+1
	for _, e := range h.Workspaces {
		if d := keyway.Distance(strings.ToLower(string(e.Name)), strings.ToLower(name)); d < distance && d < len(e.Name) {
			best, distance = e.Place.Of(e.Name), d
		}
	}
	return best, best != ""
}

func (h *hosts) sort() {
	slices.SortFunc(h.Workspaces, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	slices.Sort(h.Places)
}
