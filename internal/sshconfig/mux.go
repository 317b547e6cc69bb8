package sshconfig

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"keyway/internal/keyway"
)

// maxControlPath bounds the bytes of a socket's path for ssh, which adds nothing to that of a
// client (unix(7)).
const maxControlPath = 104

// muxOptions returns the options that tell ssh where to find keyway's mux, and nothing else.
// ControlMaster no prevents a user's auto from taking the path over.
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
	"gatewayports":            {"no"},
	"localcommand":            nil,
	"localforward":            nil,
	"loglevel":                {"QUIET", "FATAL", "ERROR", "INFO"},
	"pubkeyauthentication":    {"yes", "true", "unbound", "host-bound"},
	"remoteforward":           nil,
	"revokedhostkeys":         nil,
	"sessiontype":             {"default"},
	"setenv":                  nil,
	"stdinnull":               {"no"},
	"streamlocalbindunlink":   {"no"},
	"tunnel":                  {"false", "no"},
}

// MuxObstacle returns the setting in the user's configuration that keyway's mux would not honour
// for a workspace as ssh does by itself; empty if there is none. dir is the directory of the mux's
// sockets. ssh -G tells the settings; a Match exec line that decides for each connection is not
// noticed.
func MuxObstacle(ctx context.Context, name keyway.Name, dir string) (string, error) {
	out, err := resolver{}.run(ctx, string(name))
	if err != nil {
		return "", err
	}
	return muxObstacle(out, filepath.Join(dir, string(name))), nil
}

// OwnControlPath returns the path at which the user's configuration has ssh share connections to any
// host; empty if there is none. The generated entry of a workspace with the mux would hide it.
func OwnControlPath(ctx context.Context) (string, error) {
	out, err := resolver{}.run(ctx, noHost)
	for line := range strings.Lines(out) {
		if path, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "controlpath "); ok && path != "none" {
			return path, nil
		}
	}
	return "", err
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

// Files are the files and directories from which ssh has its configuration for a workspace,
// as they were at some time.
type Files map[string]stamp

type stamp struct{ size, changed int64 }

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info.Size(), info.ModTime().UnixNano()}
}

// FilesFor asks ssh which files it reads for a workspace.
func FilesFor(ctx context.Context, name keyway.Name) (Files, error) {
	return resolver{}.files(ctx, string(name))
}

func (r resolver) files(ctx context.Context, host string) (Files, error) {
	r.options = append([]string{"-v"}, r.options...)
	_, said, err := r.ask(ctx, host)
	files := filesIn(said)
	// ssh tells neither of a file of its own that is not there, nor of the directories in
	// which a pattern looks.
	for _, home := range homes() {
		for _, path := range readConfigs(home).sources {
			files[path] = stampOf(path)
		}
	}
	return files, err
}

// filesIn returns the files that ssh -v reports to have read, and those that an Include line would
// make it read if they existed.
func filesIn(said string) Files {
	files := Files{}
	for line := range strings.Lines(said) {
		line = strings.TrimRight(line, "\r\n")
		path, ok := strings.CutPrefix(line, "debug1: Reading configuration data ")
		if !ok {
			_, path, _ = strings.Cut(line, ": include ")
			path, ok = strings.CutSuffix(path, " matched no files")
		}
		if ok && filepath.IsAbs(path) {
			files[path], files[filepath.Dir(path)] = stampOf(path), stampOf(filepath.Dir(path))
		}
	}
	return files
}

// Changed reports whether ssh may have another configuration now. It does so also if
// nothing is known of its files.
func (f Files) Changed() bool {
	for path, was := range f {
		if stampOf(path) != was {
			return true
		}
	}
	return len(f) == 0
}
