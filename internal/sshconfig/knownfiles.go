package sshconfig

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"keyway/internal/keyway"
)

// KnownHostsFiles returns the files in which ssh looks for the key of host, the user's first, as
// ssh -G reports them; none if ssh cannot be asked.
func KnownHostsFiles(ctx context.Context, host string) []string {
	return resolver{}.knownHostsFiles(ctx, host)
}

func (r resolver) knownHostsFiles(ctx context.Context, host string) []string {
	if _, err := keyway.ParsePlace(host); err != nil {
		return nil
	}
	out, err := r.run(ctx, host)
	if err != nil {
		return nil
	}
	var users, machines []string
	for line := range strings.Lines(out) {
		keyword, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		switch keyword {
		case "userknownhostsfile":
			users = fileNames(value)
		case "globalknownhostsfile":
			machines = fileNames(value)
		}
	}
	return append(users, machines...)
}

// fileNames returns the names in a value of ssh -G, which separates names by spaces and does not
// quote them. If a file exists whose name has spaces, that name is returned, too.
func fileNames(value string) []string {
	var names []string
	for _, name := range append(strings.Fields(value), value) {
		if rest, ok := strings.CutPrefix(name, "~/"); ok {
			if home, err := os.UserHomeDir(); err == nil {
				name = filepath.Join(home, rest)
			}
		}
		if _, err := os.Stat(name); name != value || err == nil {
			names = append(names, name)
		}
	}
	return names
}

// Route is the route to a place according to the user's configuration.
type Route struct {
	// FirstHop is the address of the machine at which the route begins, as host and port; empty
	// if ssh cannot be asked, or reaches it by a command of the user's.
	FirstHop string
	// Unlimited is the name that ssh is given for that machine, if the configuration has no
	// ConnectTimeout for it; else empty.
	Unlimited string
	Longest   time.Duration // the longest ConnectTimeout on the route; 0: none
	// Agents are the sockets of the agents that ssh uses on the route; an empty one is that of
	// SSH_AUTH_SOCK. nil: not known.
	Agents []string
	// Commands are the hosts on the route that ssh reaches by a command of the user's, and Proxies
	// those commands, in the same order.
	Commands, Proxies []string
	// Endless is the error of jump hosts that lead in a circle, which ssh would follow without
	// an end; Late that of a configuration that ssh has not read in time.
	Endless, Late error
}

// RouteTo describes the route to place.
func RouteTo(ctx context.Context, place keyway.Place) Route { return resolver{}.routeTo(ctx, place) }

func (r resolver) routeTo(ctx context.Context, place keyway.Place) Route {
	hops, err := r.hops(ctx, string(place))
	switch {
	case errors.Is(err, errCircle):
		return Route{Endless: err}
	case errors.Is(err, errLate):
		return Route{Late: err}
	case err != nil:
		return Route{}
	}
	route := Route{Agents: []string{}}
	for _, h := range hops {
		if h.ProxyCommand != "" {
			route.Commands, route.Proxies = append(route.Commands, jumpHost(h.Name)), append(route.Proxies, h.ProxyCommand)
		}
		if seconds, err := strconv.Atoi(h.ConnectTimeout); err == nil {
			route.Longest = max(route.Longest, time.Duration(seconds)*time.Second)
		}
		if socket, named := h.Agent(); (socket != "" || !named) && !slices.Contains(route.Agents, socket) {
			route.Agents = append(route.Agents, socket)
		}
	}
	if hops[0].ProxyCommand != "" {
		return route
	}
	if hops[0].ConnectTimeout == "none" {
		route.Unlimited = string(place)
		if len(hops) > 1 {
			route.Unlimited = jumpHost(hops[0].Name)
		}
	}
	route.FirstHop = net.JoinHostPort(hops[0].HostName, hops[0].Port)
	return route
}
