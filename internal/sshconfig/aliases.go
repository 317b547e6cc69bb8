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
}

// ReadNames reads ~/.ssh/config, the system's ssh_config and what they include. It runs
// nothing: Match exec lines count as if they might match. What cannot be read has no
// names.
func ReadNames(home string) Names {
	r := namesReader{home: home, seen: map[string]bool{}}
	every := block{patterns: []string{"*"}}
	r.file(filepath.Join(home, ".ssh", "config"), filepath.Join(home, ".ssh"), every, 0)
	r.file("/etc/ssh/ssh_config", "/etc/ssh", every, 0)
	return r.names()
}

// setting is a line of the configuration, with the hosts that it is for.
type setting struct {
	directive
	block
}

// block is for whom the lines below a Host or Match line are.
type block struct {
	patterns []string
	unsure   bool // only ssh can say
}

type namesReader struct {
	home     string
	settings []setting
	literal  []string
	sources  []string
	seen     map[string]bool
}

func (r *namesReader) file(path, dir string, b block, depth int) {
	r.sources = append(r.sources, path)
	if depth > maxIncludes || len(r.seen) >= maxConfigs || r.seen[path] {
		return
	}
	r.seen[path] = true
	data, err := readBounded(path, maxConfig)
	if err != nil {
		return
	}
	for _, line := range parseConfig(data).lines {
		switch d := parseDirective(line); d.keyword {
		case "":
		case "host":
			b = block{patterns: d.args}
			r.addLiteral(d.args)
		case "match":
			b = matchBlock(d.args)
			r.addLiteral(b.patterns)
		case "include":
			for _, arg := range d.args {
				r.include(arg, dir, b, depth)
			}
		default:
			r.settings = append(r.settings, setting{d, b})
		}
	}
}

func (r *namesReader) include(arg, dir string, b block, depth int) {
	if rest, ok := strings.CutPrefix(arg, "~/"); ok {
		arg = filepath.Join(r.home, rest)
	} else if !filepath.IsAbs(arg) {
		arg = filepath.Join(dir, arg)
	}
	r.sources = append(r.sources, filepath.Dir(arg))
	found, err := filepath.Glob(arg)
	if err != nil {
		return
	}
	for _, path := range found {
		r.file(path, dir, b, depth+1)
	}
}

// matchBlock is for the hosts that a Match line names, and unsure where it has other
// conditions.
func matchBlock(args []string) block {
	b := block{}
	for i := 0; i < len(args); i++ {
		word, value, joined := strings.Cut(strings.ToLower(args[i]), "=")
		switch word {
		case "all":
			b.patterns = []string{"*"}
			continue
		case "host", "originalhost":
		case "canonical", "final":
			b.unsure = true
			continue
		default:
			b.unsure = true
			i++ // its argument
			continue
		}
		if !joined {
			if i++; i >= len(args) {
				break
			}
			value = args[i]
		}
		b.patterns = append(b.patterns, strings.Split(value, ",")...)
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

// covers reports whether the lines are for a host: one pattern matches it, and none
// with a ! before it does.
func (b block) covers(host string) bool {
	found := false
	for _, p := range b.patterns {
		p, negated := strings.CutPrefix(p, "!")
		if !policy.Match(strings.ToLower(p), strings.ToLower(host)) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

// values are what a keyword is for a host: the first value that is sure, after those
// before it that may be.
func (r *namesReader) values(keyword, host string) (values []string) {
	for _, s := range r.settings {
		if s.keyword != keyword || len(s.args) == 0 || !s.covers(host) {
			continue
		}
		values = append(values, s.args[0])
		if !s.unsure {
			return values
		}
	}
	return values
}

func (r *namesReader) names() Names {
	n := Names{Lookups: map[string][]string{}, Sources: r.sources}
	others := map[string]bool{}
	for _, alias := range r.literal {
		if n.Lookups[alias] == nil {
			n.Lookups[alias] = r.lookups(alias)
		}
	}
	for _, s := range r.settings {
		switch s.keyword {
		case "canonicaldomains":
			for _, domain := range s.args {
				for _, alias := range r.literal {
					others[strings.ToLower(alias+"."+domain)] = true
				}
			}
		case "hostname", "hostkeyalias":
			if len(s.args) > 0 && !strings.Contains(s.args[0], "%") {
				others[strings.ToLower(s.args[0])] = true
			}
		case "proxyjump":
			for _, hop := range strings.Split(strings.Join(s.args, ","), ",") {
				others[strings.ToLower(jumpHost(hop))] = true
			}
		case "userknownhostsfile", "globalknownhostsfile":
			n.KnownHosts = append(n.KnownHosts, r.knownHosts(s.args)...)
		}
	}
	n.Others = slices.Sorted(maps.Keys(others))
	return n
}

// lookups are the names in known_hosts of one that the user types.
func (r *namesReader) lookups(alias string) (names []string) {
	if names := r.values("hostkeyalias", alias); len(names) > 0 {
		return names
	}
	hosts := r.values("hostname", alias)
	if len(hosts) == 0 {
		hosts = []string{alias}
	}
	ports := r.values("port", alias)
	if len(ports) == 0 {
		ports = []string{"22"}
	}
	for _, host := range hosts {
		host = strings.ToLower(strings.NewReplacer("%h", alias, "%%", "%").Replace(host))
		for _, port := range ports {
			if port == "22" {
				names = append(names, host)
			} else {
				names = append(names, "["+host+"]:"+port)
			}
		}
	}
	return names
}

// knownHosts are the files without tokens that only ssh can expand.
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

// WithPort is NAME as known_hosts has it for a port.
func WithPort(name, port string) string {
	if port == "" || port == "22" || strings.HasPrefix(name, "[") {
		return name
	}
	return "[" + name + "]:" + port
}

// Ports are those in names that have one, and those that people choose for sshd.
func Ports(names []string) (ports []string) {
	ports = slices.Clone(usualPorts)
	for _, name := range names {
		if _, port, err := net.SplitHostPort(name); err == nil && strings.HasPrefix(name, "[") && !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return ports
}
