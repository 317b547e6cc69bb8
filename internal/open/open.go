// Package open starts and finds the servers of a workspace that users open in a browser or an
// editor, and returns the URL of each. A workspace decides only the path and the token of a URL on
// this machine. The forwarding of the port is the link's. Begin with Targets and Server.
package open

import (
	"context"
	"slices"
	"strings"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/sleep"
)

// Inside is the access to a workspace that this package needs.
type Inside interface {
	// Ports lists where its programs listen.
	Ports(context.Context) ([]keyway.Port, error)
	// Output runs a program and returns the beginning of its output.
	Output(ctx context.Context, argv ...string) ([]byte, error)
	// Start starts a session.
	Start(ctx context.Context, session keyway.Name, argv ...string) error
	// Runs reports whether a session of that name runs.
	Runs(ctx context.Context, session keyway.Name) (bool, error)
}

// Server is something in a workspace that speaks HTTP.
type Server struct {
	Port int
	// Socket is the unix socket that it uses instead of a port.
	Socket string
	TLS    bool   // with a certificate of its own
	Path   string // where it begins; "": at the root
	Token  string // that it has to receive; "": none
	// Session is the session that it belongs to; "": it was started otherwise, and may end
	// with what started it.
	Session keyway.Name
}

// Target is a kind of server, by the name that people give it.
type Target struct {
	Name  string
	Short string // a short description
	// Session is the name of its session.
	Session keyway.Name
	// Programs start it; the first that the workspace has counts.
	Programs []string
	// Command is the command line, with arguments of the user's.
	Command func(program string, args []string) []string
	// Advice is the advice if none of them is installed.
	Advice string
	// Find finds one that runs. Only ports that Find is given are ever led to.
	Find func(ctx context.Context, w Inside, ports []keyway.Port) (s Server, found bool, err error)
	// Forgets names the data that it loses when its page is closed; "" means none.
	Forgets string
}

// Targets are all servers that have a name.
var Targets = []Target{jupyter, tensorboard}

// Lookup finds a target by name.
func Lookup(name string) (Target, bool) {
	i := slices.IndexFunc(Targets, func(t Target) bool { return t.Name == name })
	if i < 0 {
		return Target{}, false
	}
	return Targets[i], true
}

// again is the interval at which a started server is checked for its port.
const again = 300 * time.Millisecond

// Ready finds the target's server, and starts it if none runs: with args, which count
// only then. starting is called before.
func (t Target) Ready(ctx context.Context, w Inside, args []string, starting func()) (Server, error) {
	s, found, err := t.look(ctx, w)
	if err != nil || found {
		return s, err
	}
	runs, err := w.Runs(ctx, t.Session) // it may be starting just now
	if err != nil {
		return s, err
	}
	starting()
	if !runs {
		program, err := t.program(ctx, w)
		if err == nil {
			err = w.Start(ctx, t.Session, t.Command(program, args)...)
		}
		if err != nil {
			return s, err
		}
	}
	for {
		if s, found, err = t.look(ctx, w); err != nil || found {
			return s, err
		}
		if runs, err = w.Runs(ctx, t.Session); err != nil {
			return s, err
		}
		if !runs {
			return s, keyway.Errorf(keyway.NotRunning, "%s has ended before it listened", t.Name)
		}
		if err := sleep.For(ctx, again); err != nil {
			return s, err
		}
	}
}

func (t Target) look(ctx context.Context, w Inside) (Server, bool, error) {
	ports, err := w.Ports(ctx)
	if err != nil {
		return Server{}, false, err
	}
	ports = slices.DeleteFunc(ports, func(p keyway.Port) bool { return !OnLocalhost(p) })
	s, found, err := t.Find(ctx, w, ports)
	if found && !slices.ContainsFunc(ports, func(p keyway.Port) bool { return p.Port == s.Port }) {
		return Server{}, false, nil
	}
	return s, found, err
}

// OnLocalhost reports whether localhost in the workspace leads to a port.
func OnLocalhost(p keyway.Port) bool {
	return slices.Contains([]string{"127.0.0.1", "0.0.0.0", "::1", "::"}, p.Address)
}

// inSession returns the port of a session or, if it has none, of a program with that name.
func inSession(ports []keyway.Port, session keyway.Name, program string) (keyway.Port, bool) {
	for _, is := range []func(keyway.Port) bool{
		func(p keyway.Port) bool { return p.Session == string(session) },
		func(p keyway.Port) bool { return strings.HasPrefix(p.Program, program) },
	} {
		if i := slices.IndexFunc(ports, is); i >= 0 {
			return ports[i], true
		}
	}
	return keyway.Port{}, false
}

// program returns the first of the target's programs that the workspace has.
func (t Target) program(ctx context.Context, w Inside) (string, error) {
	look := []string{"sh", "-c", `for p; do command -v "$p" >/dev/null && echo "$p" && break; done; exit 0`, "sh"}
	out, err := w.Output(ctx, append(look, t.Programs...)...)
	if err != nil {
		return "", err
	}
	if name := strings.TrimSpace(string(out)); slices.Contains(t.Programs, name) {
		return name, nil
	}
	return "", keyway.Errorf(keyway.NotFound, "the workspace has no %s", strings.Join(t.Programs, " and no ")).Hint("%s", t.Advice)
}
