package main

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/laptop"
	"keyway/internal/plain"
)

// completionTime bounds how long completion waits for the jobs of a workspace.
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
	path, err := exec.LookPath("ssh")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ask := exec.CommandContext(ctx, path, "-o", "BatchMode=yes", "-o", "LogLevel=QUIET", string(entry.Name), "keyway ls --json")
	ask.Env = a.Environ()
	list, err := laptop.OutputOf(ask, laptop.MaxJobList)
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
