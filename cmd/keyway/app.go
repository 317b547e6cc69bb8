package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"keyway/internal/api"
	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/link"
	"keyway/internal/sshconfig"
)

// app is what most commands work with: the workspaces this laptop knows, the
// link, and the person.
type app struct {
	ui      *terminalUI
	hosts   *sshconfig.Store
	program string // our own executable
	runtime string // directory of sockets
	state   string // directory of what is remembered
}

func newApp() (*app, error) {
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
	a := &app{ui: newUI(os.Stderr), program: program, runtime: runtimeDir}
	followAgent(a.agentPath(), os.Getenv("SSH_AUTH_SOCK"))
	a.state = state
	a.useAgent()
	return a, nil
}

// appFor is newApp for a command about one workspace, by the name that the user
// gave it.
func appFor(name string) (*app, sshconfig.Entry, error) {
	a, err := newApp()
	if err != nil {
		return nil, sshconfig.Entry{}, err
	}
	entry, err := a.lookup(name)
	return a, entry, err
}

// useAgent has the generated ssh_config name the agent that there is now.
func (a *app) useAgent() {
	a.hosts = sshconfig.Open(a.state, sshconfig.Client{Program: a.program, Agent: a.agentSocket(), Forward: a.forwardSocket()})
}

// link reaches the user's link, starting it if need be.
func (a *app) link(ctx context.Context) (*link.Client, error) {
	log, err := linkLog()
	if err != nil {
		return nil, err
	}
	return link.Open(ctx, a.runtime, a.program, log)
}

// node reaches the node at place.
func (a *app) node(ctx context.Context, place keyway.Place) (*api.Client, error) {
	l, err := a.link(ctx)
	if err != nil {
		return nil, err
	}
	return l.Place(ctx, place, a.env(), a.ui.at(place))
}

// env is what the link's ssh gets of our environment.
func (a *app) env() map[string]string {
	env := map[string]string{}
	for _, kv := range a.environ() {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	return link.PassedEnv(env)
}

// environ is our environment with the agent that keyway uses.
func (a *app) environ() []string {
	env := os.Environ()
	if sock := a.agentSocket(); sock != "" {
		env = append(slices.DeleteFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "SSH_AUTH_SOCK=") }), "SSH_AUTH_SOCK="+sock)
	}
	return env
}

// lookup finds a workspace by NAME or PLACE/NAME.
func (a *app) lookup(arg string) (sshconfig.Entry, error) {
	return a.hosts.Lookup(arg)
}

// places are those named, or all that this laptop has used, and this machine.
func (a *app) places(named []string) ([]keyway.Place, error) {
	if len(named) == 0 {
		places, err := a.hosts.Places()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(places, keyway.Local) && a.localMayHaveWorkspaces() {
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
func (a *app) localMayHaveWorkspaces() bool {
	state, err := dirs.State()
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(state, "workspaces"))
	return err == nil
}

func completeWorkspaces(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	a, err := newApp()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
	known, _ := a.hosts.List()
	for _, e := range known {
		if !slices.Contains(args, string(e.Name)) {
			names = append(names, cobra.CompletionWithDesc(string(e.Name), "at "+string(e.Place)))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func completePlaces(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	a, err := newApp()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := []cobra.Completion{string(keyway.Local)}
	used, _ := a.hosts.Places()
	for _, p := range used {
		if p != keyway.Local {
			names = append(names, string(p))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
