package hostnames

import (
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/policy"
	"keyway/internal/sshconfig"
)

// Names are the names of hosts by the fingerprints of their keys, from known_hosts files that are
// read again when they change. Hashed names there are compared with every name in the user's
// configuration and policy.
type Names struct {
	files []knownHostsFile

	// config returns the names in ssh_config, with the files that they come from; nil: none.
	config func() sshconfig.Names
	// places returns the place of each workspace of this laptop, by its name, and the file that it
	// comes from; nil: unknown.
	places func() (where map[string]string, source string)
	// policy returns the policy, for the names in its rules; nil: none.
	policy func() *policy.Policy

	mu          sync.Mutex
	stamps      string
	sources     []string
	rules       *policy.Policy // whose names were tried
	hosts       map[string]policy.Host
	hashed      map[string][]string // fingerprint → names as known_hosts hashes them
	authorities map[string][]string // fingerprint → patterns of names
	names       sshconfig.Names
	aliases     map[string][]string // name in known_hosts → name in the configuration
	guesses     []string            // to try with hashed names
	resolved    map[string]policy.Host
	partial     bool // any host may have a name in the unread part
}

type knownHostsFile struct {
	path  string
	group string
}

// Bounds on known_hosts files.
const (
	maxKnownHosts = 8 << 20 // bytes of one
	maxHashed     = 1000    // hashed names of one key
	maxGuesses    = 100_000
)

// Read finds the files that tell what the user calls hosts.
func Read(rules func() *policy.Policy) *Names {
	n := &Names{files: knownHostsFiles(), policy: rules}
	if home, err := os.UserHomeDir(); err == nil {
		n.config = func() sshconfig.Names { return sshconfig.ReadNames(home) }
	}
	if dir, err := dirs.State(); err == nil {
		n.places = func() (map[string]string, string) { return workspacePlaces(dir) }
	}
	return n
}

// Lookup returns the function that gives an agent the user's names for a host, under the policy in
// force.
func Lookup(rules func() *policy.Policy) func(ssh.PublicKey) policy.Host {
	return Read(rules).lookup
}

// workspacePlaces returns the places of the workspaces that this laptop knows.
func workspacePlaces(dir string) (where map[string]string, source string) {
	entries, err := sshconfig.Open(dir, sshconfig.Client{}).List()
	where = map[string]string{}
	if err == nil {
		for _, e := range entries {
			where[string(e.Name)] = string(e.Place)
		}
	}
	return where, filepath.Join(dir, "hosts.json")
}

// knownHostsFiles returns keyway's own known_hosts files, the user's and the system's.
func knownHostsFiles() (files []knownHostsFile) {
	if dir, err := dirs.State(); err == nil {
		files = append(files, knownHostsFile{filepath.Join(dir, "known_hosts"), policy.GroupWorkspaces})
	}
	if home, err := os.UserHomeDir(); err == nil {
		for _, name := range []string{"known_hosts", "known_hosts2"} {
			files = append(files, knownHostsFile{filepath.Join(home, ".ssh", name), ""})
		}
	}
	return append(files, knownHostsFile{"/etc/ssh/ssh_known_hosts", ""}, knownHostsFile{"/etc/ssh/ssh_known_hosts2", ""})
}

// named returns the host of that name, as lookup finds it. Its names are those that the agent
// knows, which may lack this one.
func (n *Names) named(name string) (policy.Host, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refreshLocked()
	if n.hosts[name].Fingerprint != "" || strings.HasPrefix(name, "SHA256:") {
		return n.hostLocked(name), true
	}
	wanted := append([]string{name}, n.names.Lookups[name]...)
	for _, port := range sshconfig.Ports(n.guesses) {
		wanted = append(wanted, sshconfig.WithPort(name, port))
	}
	for _, name := range wanted {
		for fingerprint, h := range n.hosts {
			if slices.Contains(h.Names, name) || slices.ContainsFunc(n.hashed[fingerprint], func(hash string) bool { return sshconfig.IsHashOf(hash, name) }) {
				return n.hostLocked(fingerprint), true
			}
		}
	}
	return policy.Host{}, false
}

func (n *Names) lookup(key ssh.PublicKey) policy.Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refreshLocked()
	cert, isCert := key.(*ssh.Certificate)
	if isCert {
		key = cert.Key
	}
	h := n.hostLocked(ssh.FingerprintSHA256(key))
	if isCert && cert.SignatureKey != nil && cert.CertType == ssh.HostCert {
		h.Names = append(h.Names[:len(h.Names):len(h.Names)], n.certifiedLocked(cert)...)
	}
	return h
}

// hostLocked returns everything that is known about the host with a key.
func (n *Names) hostLocked(fingerprint string) policy.Host {
	h, done := n.resolved[fingerprint]
	if !done {
		h = n.resolveLocked(fingerprint)
		h.Partial = h.Partial || n.partial
		n.resolved[fingerprint] = h
	}
	return h
}

func (n *Names) resolveLocked(fingerprint string) policy.Host {
	h := n.hosts[fingerprint]
	h.Fingerprint = fingerprint
	h.Names = slices.Clone(h.Names)
	if name := policy.GitHost(fingerprint); name != "" {
		h.Names, h.Groups = append([]string{name}, h.Names...), append(slices.Clone(h.Groups), policy.GroupGit)
	}
	for _, hash := range n.hashed[fingerprint] {
		i := slices.IndexFunc(n.guesses, func(name string) bool { return sshconfig.IsHashOf(hash, name) })
		if i < 0 {
			h.Partial = true
			continue
		}
		h.Names = addName(h.Names, n.guesses[i])
	}
	h.Names = n.withAliasesLocked(h.Names)
	return h
}

// withAliasesLocked adds the configuration's names for the host, before an address and after a
// name: the first one is shown to users.
func (n *Names) withAliasesLocked(names []string) (all []string) {
	for _, name := range names {
		aliases := n.aliases[strings.ToLower(name)]
		host := strings.Trim(name, "[]")
		if h, _, err := net.SplitHostPort(name); err == nil {
			host = h
		}
		if net.ParseIP(host) == nil {
			all = addName(all, name)
		}
		for _, alias := range aliases {
			all = addName(all, alias)
		}
		all = addName(all, name)
	}
	return all
}

func addName(names []string, name string) []string {
	if slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}

// Hashed returns the number of hosts with a hashed name, and the number of those with an
// unknown one.
func (n *Names) Hashed() (hashed, unknown int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refreshLocked()
	for fingerprint := range n.hashed {
		hashed++
		if n.hostLocked(fingerprint).Partial {
			unknown++
		}
	}
	return hashed, unknown
}

// certifiedLocked returns the names in the certificate that its authority may assign.
func (n *Names) certifiedLocked(cert *ssh.Certificate) (names []string) {
	checker := ssh.CertChecker{}
	for _, pattern := range n.authorities[ssh.FingerprintSHA256(cert.SignatureKey)] {
		for _, name := range cert.ValidPrincipals {
			if policy.Match(pattern, name) && checker.CheckCert(name, cert) == nil {
				names = append(names, name)
			}
		}
	}
	return names
}

// refreshLocked reads changed files.
func (n *Names) refreshLocked() {
	var rules *policy.Policy
	if n.policy != nil {
		rules = n.policy()
	}
	if n.hosts != nil && n.stampsOf() == n.stamps && rules == n.rules {
		return
	}
	n.rules, n.sources, n.names = rules, nil, sshconfig.Names{}
	if n.config != nil {
		n.names = n.config()
		n.sources = append(n.sources, n.names.Sources...)
	}
	var places map[string]string
	if n.places != nil {
		var source string
		places, source = n.places()
		n.sources = append(n.sources, source)
	}
	files := slices.Clone(n.files)
	for _, path := range n.names.KnownHosts {
		if !slices.ContainsFunc(files, func(f knownHostsFile) bool { return f.path == path }) {
			files = append(files, knownHostsFile{path, ""})
			n.sources = append(n.sources, path)
		}
	}
	n.stamps = n.stampsOf()
	n.hosts, n.hashed, n.authorities = map[string]policy.Host{}, map[string][]string{}, map[string][]string{}
	n.resolved = map[string]policy.Host{}
	n.partial = n.names.Partial
	again := n.names.Again
	for _, f := range files {
		cut, err := n.readLocked(f, places)
		n.partial = n.partial || cut || sshconfig.Passing(err)
		again = again || sshconfig.Passing(err)
	}
	if again {
		n.stamps = ""
	}
	n.guessLocked(places)
}

func (n *Names) stampsOf() string {
	var stamps []string
	for _, f := range n.files {
		stamps = append(stamps, keyway.FileStamp(f.path))
	}
	for _, path := range n.sources {
		stamps = append(stamps, keyway.FileStamp(path))
	}
	return strings.Join(stamps, "\n")
}

// guessLocked collects the names to try with hashed ones, and the configuration's names for hosts.
func (n *Names) guessLocked(places map[string]string) {
	n.aliases = map[string][]string{}
	guesses, ports := map[string]bool{}, map[string]bool{}
	add := func(names ...string) {
		for _, name := range names {
			guesses[strings.ToLower(name)] = true
		}
		for _, port := range sshconfig.Ports(names) {
			ports[port] = true
		}
	}
	for alias, lookups := range n.names.Lookups {
		add(alias)
		add(lookups...)
		for _, lookup := range lookups {
			n.aliases[lookup] = append(n.aliases[lookup], alias)
		}
	}
	for _, aliases := range n.aliases {
		slices.Sort(aliases)
	}
	add(n.names.Others...)
	add(n.rules.HostNames()...)
	for _, h := range n.hosts {
		add(h.Names...)
	}
	for name, place := range places {
		add(name, hostOfPlace(place))
	}
	for _, name := range slices.Collect(maps.Keys(guesses)) {
		for port := range ports {
			guesses[sshconfig.WithPort(name, port)] = true
		}
	}
	n.guesses = slices.Sorted(maps.Keys(guesses))
	n.guesses = n.guesses[:min(len(n.guesses), maxGuesses)]
}

// hostOfPlace returns the host's name in USER@HOST:PORT.
func hostOfPlace(place string) string {
	host := place[strings.LastIndexByte(place, '@')+1:]
	name, _, _ := strings.Cut(host, ":")
	return name
}

// readLocked reads a file as ssh does: a line that ssh cannot read names no host. cut reports that
// the file has more.
func (n *Names) readLocked(f knownHostsFile, places map[string]string) (cut bool, err error) {
	file, err := os.Open(f.path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxKnownHosts+1))
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(data)) {
		marker, names, key, _, _, err := ssh.ParseKnownHosts([]byte(line))
		if err != nil || marker == "revoked" {
			continue
		}
		fingerprint := ssh.FingerprintSHA256(key)
		if marker == "cert-authority" {
			n.authorities[fingerprint] = append(n.authorities[fingerprint], names...)
			continue
		}
		h := n.hosts[fingerprint]
		h.Fingerprint = fingerprint
		for _, name := range names {
			switch {
			case strings.HasPrefix(name, "|"):
				if len(n.hashed[fingerprint]) < maxHashed {
					n.hashed[fingerprint] = append(n.hashed[fingerprint], name)
				} else {
					h.Partial = true
				}
				continue
			case strings.HasPrefix(name, "!"):
				continue // the opposite of a name
			case strings.ContainsAny(name, "*?"):
				h.Partial = true
			case f.group == policy.GroupWorkspaces:
				name = strings.TrimSuffix(name, ".keyway")
				h.Place = placeOf(name, places)
			}
			if !slices.Contains(h.Names, name) {
				h.Names = append(h.Names, name)
			}
		}
		if f.group != "" {
			h.Groups = []string{f.group}
		}
		n.hosts[fingerprint] = h
	}
	return len(data) > maxKnownHosts, nil
}

// placeOf returns the place of a workspace. A workspace with an unknown place counts as at a
// place of its own.
func placeOf(name string, places map[string]string) string {
	place, known := places[name]
	if places != nil && !known {
		return "?" + name
	}
	return place
}

// ByName returns the hosts that have a name, sorted by their first name.
func (n *Names) ByName() map[string]policy.Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refreshLocked()
	byName := map[string]policy.Host{}
	for fingerprint := range n.hosts {
		if h := n.hostLocked(fingerprint); len(h.Names) > 0 {
			byName[h.Names[0]] = h
		}
	}
	return byName
}

// Find returns the host with that name in the user's files, as the agent sees it. For an unknown
// name, it returns a host with an unknown key and no name.
func (n *Names) Find(name string) (h policy.Host, known bool) {
	if h, ok := n.named(name); ok {
		return h, true
	}
	for _, h := range policy.GitHosts() {
		if h.Names[0] == name {
			return h, true
		}
	}
	return policy.Host{Fingerprint: "not in known_hosts"}, false
}
