package sshconfig

import (
	"context"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
)

// noHost is a host that no configuration mentions: ssh's settings for it are those for every name.
// It has no dot, as workspaces have none, because users give all short names a domain or a jump
// host.
const noHost = "keyway-no-such-host"

// usualPorts are tried where a hashed name may have a port: a name's hash covers it.
var usualPorts = []string{"22", "222", "2022", "2222", "22022", "22222"}

// reservedNames mean this machine to ssh, or to keyway.
var reservedNames = []keyway.Name{"localhost", keyway.Name(keyway.Local)}

// Surroundings are the hosts that this laptop's ssh knows besides workspaces. Names and host
// keys of new workspaces are compared with them. They are read once for each command.
type Surroundings struct {
	registry hosts
	config   []string // names of hosts in ssh_config files
	system   []string // names that this system gives addresses, and its own
	lines    []knownLine
	ports    []string // that a name in known_hosts may have
	none     Host     // what ssh makes of any name
	resolver resolver
}

// Surroundings reads the user's configuration, all known_hosts files and the
// registry.
func (s *Store) Surroundings(ctx context.Context) (*Surroundings, error) {
	return s.surroundings(ctx, resolver{})
}

func (s *Store) surroundings(ctx context.Context, r resolver) (*Surroundings, error) {
	registry, err := s.read()
	if err != nil {
		return nil, err
	}
	none, err := r.resolve(ctx, noHost)
	if err != nil {
		return nil, err
	}
	u := &Surroundings{registry: registry, none: none, resolver: r, system: systemNames(r.hostsFile())}
	files := append([]string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}, none.KnownHosts...)
	var lookups []string
	for _, home := range homes() {
		n := ReadNames(home)
		files = append(append(files, n.KnownHosts...), filepath.Join(home, ".ssh", "known_hosts"), filepath.Join(home, ".ssh", "known_hosts2"))
		u.config = append(u.config, n.Others...)
		for alias, names := range n.Lookups {
			u.config = append(u.config, alias)
			lookups = append(lookups, names...)
			for _, name := range names {
				u.config = append(u.config, withoutPort(name))
			}
		}
	}
	slices.Sort(files)
	files = slices.DeleteFunc(slices.Compact(files), func(f string) bool { return f == s.KnownHostsPath() || f == s.unprovedPath() })
	u.lines, err = readKnown(files)
	for _, l := range u.lines {
		if !strings.HasPrefix(l.hosts, "|") {
			lookups = append(lookups, strings.Split(l.hosts, ",")...)
		}
	}
	u.ports = Ports(append(lookups, u.config...))
	return u, err
}

// homes returns the user's home directories: $HOME, and that of the user database, which ssh uses.
func homes() (dirs []string) {
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, home)
	}
	if me, err := user.Current(); err == nil && me.HomeDir != "" && !slices.Contains(dirs, me.HomeDir) {
		dirs = append(dirs, me.HomeDir)
	}
	return dirs
}

// CheckName refuses a name for a new workspace that means something else here
// already, or could: its Host entry would come first and hide that. A dot makes
// the name of a host in the network.
func (u *Surroundings) CheckName(ctx context.Context, name keyway.Name) error {
	if _, err := keyway.ParseName(string(name)); err != nil {
		return err
	}
	if strings.ContainsRune(string(name), '.') {
		return keyway.Errorf(keyway.Usage, "%s cannot be the name of a new workspace: with a dot it could be that of a host in the network", name).
			Advise(keyway.Example, "name", strings.ReplaceAll(string(name), ".", "-"))
	}
	if isAddress(string(name)) {
		return keyway.Errorf(keyway.Usage, "%s cannot be the name of a new workspace: to ssh a number is an address", name).
			Advise(keyway.Example, "name", "w"+string(name))
	}
	if slices.Contains(reservedNames, name) {
		return taken(name, "means this machine")
	}
	if slices.Contains(u.system, string(name)) {
		return taken(name, "is a host that this system knows already")
	}
	for _, e := range u.registry.Workspaces {
		if e.Name == name {
			return nameInUse(e)
		}
	}
	if err := u.registry.checkNotPlace(name); err != nil {
		return err
	}
	if slices.ContainsFunc(u.config, func(host string) bool { return strings.EqualFold(host, string(name)) }) {
		return taken(name, "is a host in your ssh configuration already")
	}
	for _, l := range u.lines {
		if l.names(string(name), u.ports) {
			e := keyway.AsError(taken(name, "is a host that "+l.where+" knows already"))
			return e.Advise(keyway.RemoveKnownKey, string(name), l.file)
		}
	}
	host, err := u.resolver.resolve(ctx, string(name))
	if err != nil {
		return err
	}
	if !u.plain(name, host) {
		return taken(name, "is a host in your ssh configuration already ("+host.User+"@"+host.HostName+")")
	}
	return nil
}

// IsHost reports whether the user's ssh makes something special of word.
func IsHost(ctx context.Context, word string) bool {
	u := &Surroundings{}
	var err error
	if u.none, err = u.resolver.resolve(ctx, noHost); err != nil {
		return false
	}
	host, err := u.resolver.resolve(ctx, word)
	return err == nil && !u.plain(keyway.Name(word), host)
}

// plain reports whether ssh's configuration has no special meaning for name.
func (u *Surroundings) plain(name keyway.Name, h Host) bool {
	any := func(value string) string { return strings.ReplaceAll(value, noHost, string(name)) }
	same := func(values, ofAny []string) bool {
		return slices.EqualFunc(values, ofAny, func(v, a string) bool { return v == any(a) })
	}
	n := u.none
	return h.HostName == string(name) && h.User == any(n.User) && h.Port == n.Port && h.HostKeyAlias == any(n.HostKeyAlias) &&
		h.ProxyCommand == any(n.ProxyCommand) && same(h.ProxyJump, n.ProxyJump) && h.IdentityAgent == any(n.IdentityAgent) &&
		same(h.IdentityFiles, n.IdentityFiles) && same(h.KnownHosts, n.KnownHosts)
}

func taken(name keyway.Name, why string) error {
	return keyway.Errorf(keyway.NameTaken, "%s %s: ssh %[1]s would no longer lead to it", name, why).
		Advise(keyway.OtherName, string(name)+"-1")
}

// nameInUse returns the error for a name in use, with advice.
func nameInUse(e Entry) error {
	return keyway.Errorf(keyway.NameTaken, "there is a workspace %s already, at %s", e.Name, e.Place).
		Advise(keyway.UseOrRemove, e.Place.Of(e.Name))
}

// CheckKey refuses a host key for a workspace that belongs to another: the agent
// would sign logins to that other host as if it were the workspace.
func (u *Surroundings) CheckKey(place keyway.Place, name keyway.Name, hostKey string) error {
	key, err := ParseHostKey(hostKey)
	if err != nil {
		return keyway.Errorf(keyway.Untrusted, "%s gives no usable host key for the workspace %s: %w", place, name, err)
	}
	owner := ""
	for _, e := range u.registry.Workspaces {
		if (e.Name != name || e.Place != place) && sameKey(e.HostKey, hostKey) {
			owner = "the workspace " + string(e.Name) + " at " + string(e.Place)
		}
	}
	for _, l := range u.lines {
		// Clients that do not go by keyway's known_hosts may have noted the workspace itself.
		if l.has(key) && (l.marker != "" || !l.names(string(name), u.ports)) {
			owner = l.owner(u.candidates(), u.ports) + " (" + l.where + ")"
		}
	}
	if owner == "" {
		return nil
	}
	return keyway.Errorf(keyway.Untrusted, "%s reports for the workspace %s the host key of %s: %s", place, name, owner, ssh.FingerprintSHA256(key)).
		Hint("nothing was written. A place that does this lies, or has copied that key: ask its administrator")
}

// candidates returns the names that a hashed name may stand for.
func (u *Surroundings) candidates() []string {
	all := slices.Clone(u.config)
	for _, p := range u.registry.Places {
		all = append(all, hostOf(p))
	}
	for _, l := range u.lines {
		if !strings.HasPrefix(l.hosts, "|") {
			all = append(all, strings.Split(l.hosts, ",")...)
		}
	}
	return append(all, "github.com", "gitlab.com", "bitbucket.org", "codeberg.org", "ssh.dev.azure.com")
}

// withoutPort returns a name in known_hosts without the port that it may have.
func withoutPort(name string) string {
	if rest, ok := strings.CutPrefix(name, "["); ok {
		name, _, _ = strings.Cut(rest, "]")
	}
	return name
}

// hostOf returns a place without the user.
func hostOf(p keyway.Place) string { return string(p)[strings.LastIndexByte(string(p), '@')+1:] }
