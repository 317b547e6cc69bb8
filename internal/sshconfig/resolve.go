package sshconfig

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"time"

	"keyway/internal/bounded"
	"keyway/internal/keyway"
)

// Bounds on asking ssh -G.
const (
	resolveTimeout = 10 * time.Second // a Match exec of the user's may be slow
	maxResolved    = 1 << 20          // bytes of output
	maxHops        = 16
)

var (
	errCircle = errors.New("lead in a circle")
	errLate   = errors.New("not read its configuration")
)

// Host has ssh's settings for a host name, by the user's configuration.
type Host struct {
	Name          string   `json:"name"` // as the user wrote it
	HostName      string   `json:"hostName"`
	User          string   `json:"user"`
	Port          string   `json:"port"`
	ProxyJump     []string `json:"proxyJump,omitempty"`
	ProxyCommand  string   `json:"proxyCommand,omitempty"`
	IdentityAgent string   `json:"identityAgent,omitempty"`
	IdentityFiles []string `json:"identityFiles,omitempty"`
	HostKeyAlias  string   `json:"hostKeyAlias,omitempty"`
	KnownHosts    []string `json:"knownHosts,omitempty"` // the user's and the system's known_hosts files

	ConnectTimeout string `json:"-"` // as ssh -G has it: seconds, or none
}

// Resolve asks ssh for its configuration of host. ssh -G runs the commands of Match exec lines,
// with the host's name among their arguments, so this is only for names that the user typed or
// wrote into that configuration.
func Resolve(ctx context.Context, host keyway.Place) (Host, error) {
	return resolver{}.resolve(ctx, string(host))
}

// Hops returns the hosts of the route to place, the place last. A jump host may itself be
// reached through others.
func Hops(ctx context.Context, place keyway.Place) ([]Host, error) {
	return resolver{}.hops(ctx, string(place))
}

// resolver asks ssh, with more options in tests.
type resolver struct {
	options []string
	hosts   string // the file hosts(5); empty: this system's
}

func (r resolver) resolve(ctx context.Context, host string) (Host, error) {
	if _, err := keyway.ParsePlace(host); err != nil {
		return Host{}, err
	}
	out, err := r.run(ctx, host)
	if err != nil {
		return Host{}, err
	}
	return parseResolved(host, out), nil
}

func (r resolver) run(ctx context.Context, host string) (string, error) {
	out, _, err := r.ask(ctx, host)
	return out, err
}

// ask returns the standard output of ssh -G, and its standard error.
func (r resolver) ask(ctx context.Context, host string) (resolved, said string, err error) {
	limited, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	cmd := exec.CommandContext(limited, "ssh", append(slices.Clone(r.options), "-T", "-G", "--", host)...)
	out, errs := &bounded.Buffer{Max: maxResolved}, &bounded.Buffer{Max: maxResolved}
	cmd.Stdout, cmd.Stderr = out, errs
	cmd.WaitDelay = time.Second // a process of a Match exec may hold the pipes
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return "", "", ctx.Err()
	case limited.Err() != nil:
		return "", "", keyway.Errorf(keyway.BadConfig, "ssh has %w within %v", errLate, resolveTimeout).
			Hint("a Match exec line in ~/.ssh/config may hang: try ssh -G %s", host)
	case errors.Is(err, exec.ErrNotFound):
		return "", "", keyway.Errorf(keyway.Other, "there is no ssh on this machine: %w", err).
			Hint("install the OpenSSH client (Debian: apt-get install openssh-client)")
	case err != nil:
		if nobody := keyway.NoSuchUser(errs.String()); nobody != nil {
			return "", "", nobody
		}
		why := firstFault(errs.String())
		if why == "" {
			why = err.Error()
		}
		return "", "", keyway.Errorf(keyway.BadConfig, "ssh cannot read its configuration: %s", why).
			Hint("set that line right; ssh -G %s shows when it is", host)
	}
	return out.String(), errs.String(), nil
}

// hops follows the first jump host of each host: ssh reaches the others through
// the one before, whatever their own entries say.
func (r resolver) hops(ctx context.Context, place string) ([]Host, error) {
	last, err := r.resolve(ctx, place)
	if err != nil {
		return nil, err
	}
	route := []Host{last}
	for first := last; len(first.ProxyJump) > 0; first = route[0] {
		if len(route)+len(first.ProxyJump) > maxHops {
			return nil, keyway.Errorf(keyway.BadConfig, "the route to %s has over %d hops: the jump hosts of %s %w?", place, maxHops, first.Name, errCircle).
				Hint("look at the ProxyJump lines of ~/.ssh/config: ssh -G %s", first.Name)
		}
		jumps, err := r.jumps(ctx, first.ProxyJump)
		if err != nil {
			return nil, err
		}
		route = append(jumps, route...)
	}
	return route, nil
}

func (r resolver) jumps(ctx context.Context, names []string) ([]Host, error) {
	var hops []Host
	for _, name := range names {
		hop, err := r.resolve(ctx, jumpHost(name))
		if err != nil {
			return nil, err
		}
		hop.applyJump(name)
		hops = append(hops, hop)
	}
	return hops, nil
}

// jumpHost returns the host in [ssh://][user@]host[:port].
func jumpHost(jump string) string {
	_, host, _ := splitJump(jump)
	return host
}

// applyJump adds the user and the port of a ProxyJump value.
func (h *Host) applyJump(jump string) {
	user, _, port := splitJump(jump)
	h.Name = jump
	if user != "" {
		h.User = user
	}
	if port != "" {
		h.Port = port
	}
}

func splitJump(jump string) (user, host, port string) {
	host = strings.TrimSuffix(strings.TrimPrefix(jump, "ssh://"), "/")
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		user, host = host[:i], host[i+1:]
	}
	if rest, ok := strings.CutPrefix(host, "["); ok { // an IPv6 address
		address, after, _ := strings.Cut(rest, "]")
		return user, address, strings.TrimPrefix(after, ":")
	}
	if strings.Count(host, ":") == 1 {
		host, port, _ = strings.Cut(host, ":")
	}
	return user, host, port
}

// parseResolved reads the output of ssh -G: a keyword in lower case and its
// value on each line.
func parseResolved(name, out string) Host {
	h := Host{Name: name}
	for line := range strings.Lines(out) {
		keyword, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		switch keyword {
		case "hostname":
			h.HostName = value
		case "connecttimeout":
			h.ConnectTimeout = value
		case "user":
			h.User = value
		case "port":
			h.Port = value
		case "proxyjump":
			if value != "none" && value != "" && len(h.ProxyJump) == 0 {
				h.ProxyJump = strings.Split(value, ",")
			}
		case "proxycommand":
			if value != "none" {
				h.ProxyCommand = value
			}
		case "identityagent":
			h.IdentityAgent = value
		case "identityfile":
			h.IdentityFiles = append(h.IdentityFiles, value)
		case "hostkeyalias":
			h.HostKeyAlias = value
		case "userknownhostsfile", "globalknownhostsfile":
			h.KnownHosts = append(h.KnownHosts, splitArgs(value)...)
		}
	}
	return h
}

// firstFault returns the first line that ssh says and that ssh -v does not add.
func firstFault(said string) string {
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "OpenSSH_") && !strings.HasPrefix(line, "debug1: ") {
			return line
		}
	}
	return ""
}
