package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/bounded"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/plain"
	"keyway/internal/sshconfig"
)

// completionTime bounds how long completion waits for the jobs of a workspace, and for
// the files of ssh's configuration, which may be in a file system that is away.
const completionTime = 2 * time.Second

// completeJobs completes NAME and NAME/JOB.
func completeJobs(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	name, _, job := strings.Cut(toComplete, "/")
	if !job {
		names, directive := completeWorkspaces(cmd, args, toComplete)
		return names, directive | cobra.ShellCompDirectiveNoSpace // a / may follow
	}
	a, entry, err := appFor(name)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	defer cancel()
	if !a.IsUp(ctx, entry.Place) {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ask, err := a.InsideCommand(ctx, entry.Name, []string{"-o", "BatchMode=yes", "-o", "LogLevel=QUIET"}, "ls", "--json")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, err := bounded.Output(ask, laptop.MaxJobList)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeList(list, name, args), cobra.ShellCompDirectiveNoFileComp
}

// completeList completes NAME/JOB from keyway ls --json; running jobs come first.
func completeList(list []byte, name string, args []string) []cobra.Completion {
	all, err := laptop.ReadJobs(list)
	if err != nil {
		return nil
	}
	var running, ended []cobra.Completion
	for _, j := range all {
		full := name + "/" + j.Name
		if slices.Contains(args, full) {
			continue
		}
		completion := cobra.CompletionWithDesc(full, plain.Line(j.State+": "+strings.Join(j.Command, " ")))
		if j.State == "running" {
			running = append(running, completion)
		} else {
			ended = append(ended, completion)
		}
	}
	return append(running, ended...)
}

// completePlaces completes a place: those that keyway knows, and then the hosts that
// ssh's configuration names.
func completePlaces(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	names, directive := completeKnownPlaces(cmd, args, toComplete)
	hosts := make(chan []cobra.Completion, 1)
	go func() { hosts <- configuredHosts() }() // not waited for when its files do not answer: the process ends
	select {
	case more := <-hosts:
		names = append(names, slices.DeleteFunc(more, func(host string) bool { return slices.Contains(names, host) })...)
	case <-time.After(completionTime):
	}
	return names, directive
}

// completeKnownPlaces completes a place that keyway knows.
func completeKnownPlaces(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	a, err := newApp()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := []cobra.Completion{string(keyway.Local)}
	used, _ := a.Hosts.Places()
	for _, p := range used {
		if p != keyway.Local {
			names = append(names, string(p))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// configuredHosts are the hosts of ssh's configuration that can be places. Workspaces
// stand in a file that it includes, and are none.
func configuredHosts() []cobra.Completion {
	a, err := newApp()
	if err != nil {
		return nil
	}
	workspaces, _ := a.Hosts.List()
	return slices.DeleteFunc(sshconfig.HostNames(), func(host string) bool {
		_, err := keyway.ParsePlace(host)
		return err != nil || slices.ContainsFunc(workspaces, func(e sshconfig.Entry) bool { return string(e.Name) == host })
	})
}
