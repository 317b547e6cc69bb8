// Package laptop implements the use cases of the commands on the laptop: its workspaces, the
// places, the agent and the link. It returns values and errors, prints nothing, and asks the user
// through UI. The command line is in cmd/keyway. Begin with Laptop.
package laptop

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"keyway/internal/api"
	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/link"
	"keyway/internal/sshconfig"
)

// UI is the person who has given a command.
type UI interface {
	// Progress reports the present work.
	Progress(keyway.Progress)
	// Said reports a message of a host on the route.
	Said(api.Words)
	// Ask asks a question of ssh's.
	Ask(context.Context, api.Question) (api.Answer, error)
}

// Laptop is this machine as keyway sees it.
type Laptop struct {
	UI      UI
	Hosts   *sshconfig.Store // the workspaces that it knows
	Program string           // our own executable

	runtime string // directory of sockets
	state   string // directory of the records
}

// New opens the records, and repairs the path of the agent.
func New(ui UI) (*Laptop, error) {
	state, err := dirs.State()
	if err != nil {
		return nil, err
	}
	runtimeDir, err := dirs.Runtime()
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	here := &Laptop{UI: ui, Program: program, runtime: runtimeDir, state: state}
	followAgent(here.agentPath(), os.Getenv("SSH_AUTH_SOCK"))
	here.useAgent()
	return here, nil
}

// useAgent makes the generated ssh_config name the present agent.
func (here *Laptop) useAgent() {
	here.Hosts = sshconfig.Open(here.state, sshconfig.Client{Program: here.Program, Agent: here.AgentSocket(), Forward: here.forwardSocket(), Mux: muxSockets()})
}

// Link reaches the user's link, starting it if need be.
func (here *Laptop) Link(ctx context.Context) (*link.Client, error) {
	log, err := dirs.LinkLog()
	if err != nil {
		return nil, err
	}
	return link.Open(ctx, here.runtime, here.Program, log, here.progress)
}

// progress reports the present work. The doctor has no UI.
func (here *Laptop) progress(p keyway.Progress) {
	if here.UI != nil {
		here.UI.Progress(p)
	}
}

// Node reaches the node at place.
func (here *Laptop) Node(ctx context.Context, place keyway.Place) (*api.Client, error) {
	_, node, err := here.Connect(ctx, place)
	return node, err
}

// Connect reaches the link and the node at place.
func (here *Laptop) Connect(ctx context.Context, place keyway.Place) (*link.Client, *api.Client, error) {
	l, err := here.Link(ctx)
	if err != nil {
		return nil, nil, err
	}
	node, err := here.reach(ctx, l, place, here.at(place))
	return l, node, err
}

// NodeWithEngine is Node for a command about images and containers of an engine of the place. If
// engine is empty, the node chooses.
func (here *Laptop) NodeWithEngine(ctx context.Context, place keyway.Place, engine string) (*api.Client, error) {
	node, err := here.Node(ctx, place)
	if err == nil && engine != keyway.EngineHost {
		err = here.CheckEngine(ctx, place)
	}
	return node, err
}

// CheckEngine fails if place is this machine and the environment chooses another daemon than
// that of its workspaces. That is the one which the command chose that started the link.
func (here *Laptop) CheckEngine(ctx context.Context, place keyway.Place) error {
	if place != keyway.Local {
		return nil
	}
	l, err := here.Link(ctx)
	if err != nil {
		return err
	}
	s, err := l.Status(ctx)
	if err != nil {
		return err
	}
	if name, ours, theirs := s.OtherEngine(); name != "" {
		return keyway.Errorf(keyway.BadConfig, "the workspaces of this machine use %s=%q, as the command did that started the link, and yours is %q", name, theirs, ours).
			Advise(keyway.StopLink)
	}
	return nil
}

// reach reaches the node at place, which is none of the workspaces.
func (here *Laptop) reach(ctx context.Context, l *link.Client, place keyway.Place, ui link.UI) (*api.Client, error) {
	if err := here.Hosts.CheckPlace(place); err != nil {
		return nil, err
	}
	return l.Place(ctx, place, here.env(), ui)
}

// LinkRuns reports whether there is a link, which may be stopped.
func (here *Laptop) LinkRuns(ctx context.Context) bool {
	_, err := link.Running(ctx, here.runtime, here.progress)
	return err == nil || link.Unanswered(err)
}

// env returns the part of this process's environment that the link's ssh gets.
func (here *Laptop) env() map[string]string {
	env := map[string]string{}
	for _, kv := range here.Environ() {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	return link.PassedEnv(env)
}

// Environ returns this process's environment with the agent that keyway uses.
func (here *Laptop) Environ() []string {
	env := os.Environ()
	if sock := here.AgentSocket(); sock != "" {
		env = append(slices.DeleteFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "SSH_AUTH_SOCK=") }), "SSH_AUTH_SOCK="+sock)
	}
	return env
}

// Lookup finds a workspace by NAME or PLACE/NAME.
func (here *Laptop) Lookup(arg string) (sshconfig.Entry, error) {
	return here.Hosts.Lookup(arg)
}

// Places returns those named, or all that this laptop has used, and this machine.
func (here *Laptop) Places(named []string) ([]keyway.Place, error) {
	if len(named) == 0 {
		places, err := here.Hosts.Places()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(places, keyway.Local) && here.localMayHaveWorkspaces() {
			places = append(places, keyway.Local)
		}
		return places, nil
	}
	var places []keyway.Place
	for _, n := range named {
		p, err := keyway.ParsePlace(n)
		if err != nil {
			return nil, err
		}
		places = append(places, p)
	}
	return places, nil
}

// localMayHaveWorkspaces reports whether a node on this machine has ever made one.
func (here *Laptop) localMayHaveWorkspaces() bool {
	state, err := dirs.State()
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(state, "workspaces"))
	return err == nil
}
