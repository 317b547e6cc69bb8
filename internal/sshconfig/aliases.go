package sshconfig

import (
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"keyway/internal/policy"
)

// Bounds on reading the user's and the system's configuration.
const (
	maxConfig   = 1 << 20 // bytes of one file
	maxConfigs  = 256     // files, with those that are included
	maxIncludes = 16      // in one another, as ssh
	maxAliases  = 10_000
)

// Names are the names of hosts that the user's ssh_config knows.
type Names struct {
	// Lookups has for each literal name of a Host or Match line the names under which
	// ssh looks its key up in known_hosts: HostKeyAlias, or HostName with its port.
	Lookups map[string][]string
	// Others are further names that may stand in known_hosts: with the domains of
	// CanonicalDomains, and what a Match line gives that only ssh can judge.
	Others []string
	// KnownHosts are the files that UserKnownHostsFile and GlobalKnownHostsFile name.
	KnownHosts []string
	// Sources are the files that were read, and the directories of those that might be.
	Sources []string
	// Partial reports that there are more names: in a file beyond the bounds, or in one that
	// could not be read.
	Partial bool
	// Again reports that such a file may be read the next time, also if it does not change.
	Again bool
}

// ReadNames reads ~/.ssh/config, the system's ssh_config and the included files. It runs nothing:
// Match exec lines count as if they might match. A file that ssh cannot read either has no names.
func ReadNames(home string) Names {
	return readConfigs(home).names()
}

func readConfigs(home string) *namesReader {
	r := &namesReader{home: home, settings: map[string][]setting{}}
	every := block{patterns: []string{"*"}}
	r.file(filepath.Join(home, ".ssh", "config"), filepath.Join(home, ".ssh"), every, 0)
	r.file("/etc/ssh/ssh_config", "/etc/ssh", every, 0)
	return r
}

// HostNames returns the literal names in the Host and Match lines of the files that
// ReadNames reads, in their order, each once. It, too, runs nothing.
func HostNames() []string {
	var names []string
	for _, home := range homes() {
		r := readConfigs(home)
		names = append(names, r.literal...)
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(names, func(name string) bool {
		again := seen[name]
		seen[name] = true
		return again
	})
}

// setting is a line of the configuration, with the hosts that it is for.
type setting struct {
	args []string
	block
}

// block is for whom the lines below a Host or Match line are.
type block struct {
	patterns []string
	target   bool   // the patterns match the name to which ssh connects, not the typed one
	unsure   bool   // only ssh can say
	outer    *block // in which the file was included
}

type namesReader struct {
	home     string
	settings map[string][]setting // by keyword, in order
	literal  []string
	sources  []string
	files    int
	cut      bool // a file is beyond the bounds
	again    bool // a file could not be read now
}

func (r *namesReader) file(path, dir string, b block, depth int) {
	r.sources = append(r.sources, path)
	if r.files++; depth > maxIncludes || r.files > maxConfigs {
		r.cut = true
		return
	}
	data, err := readBounded(path, maxConfig)
	if err != nil {
		r.cut = r.cut || err == errTooLarge
		r.again = r.again || Passing(err)
		return
	}
	outer := b.outer
	for _, line := range parseConfig(data).lines {
		switch d := parseDirective(line); d.keyword {
		case "":
		case "host":
			b = block{patterns: d.args, outer: outer}
			r.addLiteral(d.args)
		case "match":
			b = matchBlock(d.args)
			b.outer = outer
			r.addLiteral(b.patterns)
		case "include":
			for _, arg := range d.args {
				r.include(arg, dir, b, depth)
			}
		default:
			r.settings[d.keyword] = append(r.settings[d.keyword], setting{d.args, b})
		}
	}
}

// globClasses makes a pattern of ssh's glob, in whose classes ^ is a character, one of filepath.Glob.
var globClasses = strings.NewReplacer(`\\`, `\\`, `\[`, `\[`, "[!", "[^", "[^", `[\^`)

func (r *namesReader) include(arg, dir string, b block, depth int) {
	if rest, ok := strings.CutPrefix(arg, "~/"); ok {
		arg = filepath.Join(r.home, rest)
	} else if strings.HasPrefix(arg, "~") {
		return // the home directory of another user, which we do not look up
	} else if !filepath.IsAbs(arg) {
		arg = filepath.Join(dir, arg)
	}
	arg = globClasses.Replace(arg)
	r.sources = append(r.sources, placesOf(arg)...)
	found, err := filepath.Glob(arg)
	if err != nil {
		return
	}
	for _, path := range found {
		if !hidden(path, arg) {
			r.file(path, dir, block{patterns: []string{"*"}, outer: &b}, depth+1)
		}
	}
}

// hidden reports whether an element of path begins with a dot that the pattern does not have:
// no wildcard of ssh's glob matches it.
func hidden(path, pattern string) bool {
	sep := string(filepath.Separator)
	names, patterns := strings.Split(path, sep), strings.Split(filepath.Clean(pattern), sep)
	for i, name := range names {
		if len(patterns) == len(names) && strings.HasPrefix(name, ".") && !strings.HasPrefix(strings.TrimPrefix(patterns[i], `\`), ".") {
			return true
		}
	}
	return false
}

// placesOf returns the directories in which something new may match an absolute pattern.
func placesOf(pattern string) (dirs []string) {
	dir := filepath.Dir(pattern)
	for ; strings.ContainsAny(dir, "*?["); dir = filepath.Dir(dir) {
		found, _ := filepath.Glob(dir) // a malformed pattern matches nothing, as for ssh
		dirs = append(dirs, found...)
	}
	return append(dirs, dir)
}

// matchBlock is for the hosts that a Match line names, and unsure where it has other
// conditions, or more than one.
func matchBlock(args []string) block {
	b := block{}
	for i := 0; i < len(args); i++ {
		word, value, joined := strings.Cut(strings.ToLower(args[i]), "=")
		switch word {
		case "all":
			continue
		case "canonical", "final":
			b.unsure = true
			continue
		}
		if !joined {
			if i++; i >= len(args) {
				break
			}
			value = args[i]
		}
		if b.patterns == nil && (word == "host" || word == "originalhost") {
			b.patterns, b.target = strings.Split(strings.ToLower(value), ","), word == "host"
			continue
		}
		b.unsure = true
		if word == "host" || word == "originalhost" {
			b.patterns = []string{"*"}
		}
	}
	if b.patterns == nil {
		b.patterns = []string{"*"}
	}
	return b
}

func (r *namesReader) addLiteral(patterns []string) {
	for _, p := range patterns {
		if !strings.ContainsAny(p, "*?!") && len(r.literal) < maxAliases {
			r.literal = append(r.literal, p)
		}
	}
}

// verdict is the answer whether lines apply to a host.
type verdict int

const (
	differs verdict = iota
	maybe
	covers
)

// judge judges a host that the user types, and that ssh may connect to by one of the
// targets.
func (b block) judge(host string, targets []string) verdict {
	v := covers
	if b.outer != nil {
		v = b.outer.judge(host, targets)
	}
	names := []string{host, strings.ToLower(host)}
	if b.target {
		names = append(names, targets...)
	}
	matched := 0
	for _, name := range names {
		if b.matches(name) {
			matched++
		}
	}
	switch {
	case matched == 0:
		return differs
	case b.unsure || matched < len(names):
		return min(v, maybe)
	}
	return v
}

// matches reports whether one pattern matches a name, and none with a ! before it does.
func (b block) matches(name string) bool {
	found := false
	for _, p := range b.patterns {
		p, negated := strings.CutPrefix(p, "!")
		if !policy.Match(p, name) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

// values returns the possible values of a keyword for a host: the first certain value and those
// before it. sure reports whether there is a certain one.
func (r *namesReader) values(keyword, host string, targets []string) (values []string, sure bool) {
	for _, s := range r.settings[keyword] {
		if len(s.args) == 0 {
			continue
		}
		switch s.judge(host, targets) {
		case maybe:
			values = append(values, s.args[0])
		case covers:
			return append(values, s.args[0]), true
		}
	}
	return values, false
}

func (r *namesReader) names() Names {
	n := Names{Lookups: map[string][]string{}, Sources: r.sources, Partial: r.cut || r.again, Again: r.again}
	others := map[string]bool{}
	for _, alias := range r.literal {
		if n.Lookups[alias] == nil {
			n.Lookups[alias] = r.lookups(alias)
		}
	}
	r.addOthers(others)
	n.Others = slices.Sorted(maps.Keys(others))
	for _, keyword := range []string{"userknownhostsfile", "globalknownhostsfile"} {
		for _, s := range r.settings[keyword] {
			n.KnownHosts = append(n.KnownHosts, r.knownHosts(s.args)...)
		}
	}
	return n
}

// addOthers adds names that may stand in known_hosts, whichever host they are of.
func (r *namesReader) addOthers(others map[string]bool) {
	for _, s := range r.settings["canonicaldomains"] {
		for _, domain := range s.args {
			for _, alias := range r.literal {
				others[strings.ToLower(alias+"."+domain)] = true
			}
		}
	}
	for _, s := range slices.Concat(r.settings["hostname"], r.settings["hostkeyalias"]) {
		if len(s.args) > 0 && !strings.Contains(s.args[0], "%") {
			others[strings.ToLower(s.args[0])] = true
		}
	}
	for _, s := range r.settings["proxyjump"] {
		for _, hop := range strings.Split(strings.Join(s.args, ","), ",") {
			others[strings.ToLower(jumpHost(hop))] = true
		}
	}
}

// lookups returns the names under which ssh looks up a typed name in known_hosts, as far as they
// are certain. If only ssh could tell, it returns all possible names.
func (r *namesReader) lookups(alias string) (names []string) {
	typed := strings.ToLower(alias)
	// Until it has a HostName, ssh connects to the typed name.
	hosts, sure := r.values("hostname", alias, []string{typed})
	if !sure {
		hosts = append(hosts, typed)
	}
	for i, host := range hosts {
		hosts[i] = strings.ToLower(strings.NewReplacer("%h", alias, "%%", "%").Replace(host))
	}
	targets := append(hosts[:len(hosts):len(hosts)], typed)
	if names, sure = r.values("hostkeyalias", alias, targets); sure {
		return names
	}
	ports, sure := r.values("port", alias, targets)
	if !sure {
		ports = append(ports, "22")
	}
	for _, host := range hosts {
		for _, port := range ports {
			if name := WithPort(host, port); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// knownHosts returns the files without tokens that only ssh can expand.
func (r *namesReader) knownHosts(args []string) (files []string) {
	for _, arg := range args {
		if rest, ok := strings.CutPrefix(arg, "~/"); ok {
			arg = filepath.Join(r.home, rest)
		}
		arg = strings.NewReplacer("%d", r.home, "%%", "%").Replace(arg)
		if filepath.IsAbs(arg) && !strings.Contains(arg, "%") && !strings.Contains(arg, "$") && arg != os.DevNull {
			files = append(files, arg)
		}
	}
	return files
}

// WithPort returns NAME in the form of known_hosts for a port.
func WithPort(name, port string) string {
	if port == "" || port == "22" || strings.HasPrefix(name, "[") {
		return name
	}
	return "[" + name + "]:" + port
}

// Ports returns the ports in names, and the usual ports of an sshd.
func Ports(names []string) (ports []string) {
	ports = slices.Clone(usualPorts)
	for _, name := range names {
		if _, port, err := net.SplitHostPort(name); err == nil && strings.HasPrefix(name, "[") && !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return ports
}
