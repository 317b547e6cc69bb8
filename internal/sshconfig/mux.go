package sshconfig

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"keyway/internal/keyway"
)

// maxControlPath is how long the path of a socket may be for ssh, which adds nothing
// to that of a client (unix(7)).
const maxControlPath = 104

// muxOptions are the options by which ssh finds keyway's mux: nothing but where to
// look. ControlMaster no keeps a user's auto from taking the path over.
func muxOptions(e Entry, dir string) (string, error) {
	path := filepath.Join(dir, string(e.Name))
	if dir == "" || !e.Mux || e.ForwardAgent || len(path) > maxControlPath {
		return "", nil
	}
	quoted, err := quotePath(path)
	if err != nil {
		return "", err
	}
	return "  ControlMaster no\n  ControlPath " + quoted + "\n", nil
}

// sameWithMux are the options of ssh_config(5), as ssh -G prints them, that have to be
// of these values for a session on a shared connection to be what it would be on one
// of its own. ssh -G leaves out those that are not set.
var sameWithMux = map[string][]string{
	"dynamicforward":          nil,
	"forkafterauthentication": {"no"},
	"forwardagent":            {"no"},
	"forwardx11":              {"no"},
	"localcommand":            nil,
	"localforward":            nil,
	"loglevel":                {"QUIET", "FATAL", "ERROR", "INFO"},
	"remoteforward":           nil,
	"sessiontype":             {"default"},
	"setenv":                  nil,
	"stdinnull":               {"no"},
	"tunnel":                  {"false", "no"},
}

// MuxObstacle is what in the user's configuration keyway's mux would not do for a
// workspace as ssh does it by itself; empty: nothing. dir is the directory of the
// mux's sockets. It is asked of ssh -G; what a Match exec line decides anew for each
// connection is not seen.
func MuxObstacle(ctx context.Context, name keyway.Name, dir string) (string, error) {
	out, err := resolver{}.run(ctx, string(name))
	if err != nil {
		return "", err
	}
	return muxObstacle(out, filepath.Join(dir, string(name))), nil
}

func muxObstacle(resolved, ours string) string {
	for line := range strings.Lines(resolved) {
		keyword, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		want, differs := sameWithMux[keyword]
		switch {
		case keyword == "controlpath" && value != "none" && value != ours:
			return "ControlPath " + value
		case differs && !slices.Contains(want, value) && (want != nil || value != "none"):
			return keyword + " " + value
		}
	}
	return ""
}
