package main

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/plain"
	"keyway/internal/sshconfig"
)

// app holds what most commands work with: the laptop and its user interface.
type app struct {
	*laptop.Laptop
	ui *terminalUI
}

func newApp() (*app, error) {
	if err := whoSudoIs().refusal(); err != nil {
		return nil, err
	}
	ui := newUI(os.Stderr)
	l, err := laptop.New(ui)
	if err != nil {
		return nil, err
	}
	return &app{l, ui}, nil
}

// appFor returns an app for a command about one workspace, and that workspace's entry. name is
// the name as the user gave it.
func appFor(name string) (*app, sshconfig.Entry, error) {
	a, err := newApp()
	if err != nil {
		return nil, sshconfig.Entry{}, err
	}
	entry, err := a.Lookup(name)
	return a, entry, err
}

// Lookup is that of the laptop; see hostInstead.
func (a *app) Lookup(arg string) (sshconfig.Entry, error) {
	entry, err := a.Laptop.Lookup(arg)
	return entry, hostInstead(arg, err)
}

// Target is that of the laptop; see hostInstead.
func (a *app) Target(arg string) (keyway.Place, keyway.Name, error) {
	place, name, err := a.Laptop.Target(arg)
	return place, name, hostInstead(arg, err)
}

// hostLook bounds the time for ssh's configuration to tell about a host.
const hostLook = 2 * time.Second

// hostInstead returns err, or an error that names the word as a host of the ssh configuration and
// not a workspace. New users often type a host there.
func hostInstead(word string, err error) error {
	e := keyway.AsError(err)
	if e == nil || e.Kind != keyway.NotFound || strings.Contains(word, "/") || !slices.ContainsFunc(e.Advice, func(a keyway.Advice) bool { return a.Step == keyway.SeeOrMake }) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), hostLook)
	defer cancel()
	if !sshconfig.IsHost(ctx, word) {
		return err
	}
	return keyway.Errorf(keyway.NotFound, "%s is a host, not a workspace", word).
		Hint("enter it: ssh %s\nmake a workspace there: keyway up --on %[1]s --image IMAGE --name NAME", plain.Shell(word))
}

func completeWorkspaces(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	a, err := newApp()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
	known, _ := a.Hosts.List()
	for _, e := range known {
		if !slices.Contains(args, string(e.Name)) {
			names = append(names, cobra.CompletionWithDesc(string(e.Name), "at "+string(e.Place)))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// entrance returns the data with which a new workspace becomes a host of the user's ssh: the host
// names that it must not have, and the keys that may enter. Finding either runs ssh, so both are
// found at the same time.
func (a *app) entrance(ctx context.Context, place keyway.Place, name keyway.Name, named []string) (*sshconfig.Surroundings, laptop.KeySet, error) {
	var (
		keys    laptop.KeySet
		keysErr error
		both    sync.WaitGroup
	)
	both.Go(func() { keys, keysErr = a.EntryKeys(ctx, place, named) })
	known, err := a.Hosts.Surroundings(ctx)
	if err == nil {
		err = known.CheckName(ctx, name)
	}
	both.Wait()
	return known, keys, cmp.Or(err, keysErr)
}

// parseName parses a workspace's name. If the name was derived from a container or an image, and
// not given, the error says how to give one.
func parseName(name string, given bool) (keyway.Name, error) {
	n, err := keyway.ParseName(name)
	if err == nil || given {
		return n, err
	}
	return n, keyway.Errorf(keyway.Usage, "no name was given, and the name of its image or container cannot be that of a workspace: %w", err).
		Hint("give it one, for example: --name %s", plain.Shell(strings.Trim(name[:min(len(name), keyway.MaxName/2)], "._-")))
}
