package sshconfig

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
)

// Bounds on the user's configuration, which may include many files.
const (
	maxIncludeDepth = 16 // as ssh
	maxConfigFiles  = 512
)

// userConfig is what ssh_config files say by name. ssh -G does not tell of a Host
// line without effect, nor of the known_hosts files of other hosts.
type userConfig struct {
	hosts []named  // names of Host, Match, HostName and ProxyJump, without wildcards
	known []string // values of UserKnownHostsFile and GlobalKnownHostsFile
	ports []string // values of Port

	homes []string // the user's home directory by $HOME, and by the user database, which is what ssh uses
	own   string   // the file that we generate, which is left out
	read  map[string]bool
}

type named struct{ name, where string }

// readUserConfig reads the user's ~/.ssh/config, the system's ssh_config, and what
// they include, but not own.
func readUserConfig(own string) *userConfig {
	c := &userConfig{own: own, read: map[string]bool{}}
	if home, err := os.UserHomeDir(); err == nil {
		c.homes = append(c.homes, home)
	}
	if me, err := user.Current(); err == nil && me.HomeDir != "" && !slices.Contains(c.homes, me.HomeDir) {
		c.homes = append(c.homes, me.HomeDir)
	}
	for _, home := range c.homes {
		dir := filepath.Join(home, ".ssh")
		c.file(filepath.Join(dir, "config"), dir, 0)
	}
	c.file("/etc/ssh/ssh_config", "/etc/ssh", 0)
	return c
}

// file reads one file; relative Include lines in it are below dir.
func (c *userConfig) file(path, dir string, depth int) {
	if path == c.own || c.read[path] || depth > maxIncludeDepth || len(c.read) >= maxConfigFiles {
		return
	}
	c.read[path] = true
	data, err := readBounded(path, maxUserConfig)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(data)) {
		d := parseDirective(line)
		switch d.keyword {
		case "include":
			for _, arg := range d.args {
				files, _ := filepath.Glob(c.expand(arg, dir))
				for _, f := range files {
					c.file(f, dir, depth+1)
				}
			}
		case "host":
			c.name(path, d.args)
		case "match":
			for i, word := range d.args {
				if w := strings.ToLower(word); i > 0 && (d.args[i-1] == "host" || d.args[i-1] == "originalhost") && w != "" {
					c.name(path, strings.Split(w, ","))
				}
			}
		case "proxyjump":
			for _, hop := range strings.Split(strings.Join(d.args, ","), ",") {
				c.name(path, []string{jumpHost(hop)})
			}
		case "hostname":
			c.name(path, d.args)
		case "userknownhostsfile", "globalknownhostsfile":
			for _, arg := range d.args {
				c.known = append(c.known, c.expand(arg, dir))
			}
		case "port":
			c.ports = append(c.ports, d.args...)
		}
	}
}

func (c *userConfig) name(where string, patterns []string) {
	for _, p := range patterns {
		if !strings.ContainsAny(p, "*?!%") {
			c.hosts = append(c.hosts, named{strings.ToLower(p), where})
		}
	}
}

// expand makes a path of an argument, with the tokens that do not depend on the
// host.
func (c *userConfig) expand(arg, dir string) string {
	arg = os.Expand(arg, os.Getenv)
	if len(c.homes) > 0 {
		arg = strings.ReplaceAll(arg, "%d", c.homes[0])
		if rest, ok := strings.CutPrefix(arg, "~/"); ok {
			return filepath.Join(c.homes[0], rest)
		}
	}
	if !filepath.IsAbs(arg) {
		return filepath.Join(dir, arg)
	}
	return arg
}

// knownFiles are the known_hosts files that any host's configuration names, those
// that ssh uses by default, and more.
func (c *userConfig) knownFiles(more []string) []string {
	files := append([]string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}, more...)
	for _, home := range c.homes {
		files = append(files, filepath.Join(home, ".ssh", "known_hosts"), filepath.Join(home, ".ssh", "known_hosts2"))
	}
	files = append(files, c.known...)
	slices.Sort(files)
	return slices.Compact(files)
}

// names are all names in the configuration.
func (c *userConfig) names() []string {
	var all []string
	for _, n := range c.hosts {
		all = append(all, n.name)
	}
	return all
}
