package sshconfig

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"keyway/internal/keyway"
)

// KnownHostsFiles are the files in which ssh looks for the key of host, the user's
// first, as ssh -G names them; none if it cannot be asked.
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

// fileNames are the names in a value of ssh -G, which separates them by spaces and
// quotes none: also what would be one name with spaces, where there is such a file.
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

// FirstHop is the machine that the way to place begins at: its address, as host and
// port, and the name that ssh is given for it, which is empty if the user's
// configuration has a ConnectTimeout for it. Both are empty if ssh cannot be asked, or
// reaches it by a command of the user's. longest is the longest ConnectTimeout on the way.
func FirstHop(ctx context.Context, place keyway.Place) (address, unlimited string, longest time.Duration) {
	return resolver{}.firstHop(ctx, place)
}

func (r resolver) firstHop(ctx context.Context, place keyway.Place) (address, unlimited string, longest time.Duration) {
	way, err := r.way(ctx, string(place))
	if err != nil {
		return "", "", 0
	}
	for _, h := range way {
		if seconds, err := strconv.Atoi(h.ConnectTimeout); err == nil {
			longest = max(longest, time.Duration(seconds)*time.Second)
		}
	}
	if way[0].ProxyCommand != "" {
		return "", "", longest
	}
	if way[0].ConnectTimeout == "none" {
		unlimited = string(place)
		if len(way) > 1 {
			unlimited = jumpHost(way[0].Name)
		}
	}
	return net.JoinHostPort(way[0].HostName, way[0].Port), unlimited, longest
}
