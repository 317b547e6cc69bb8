package main

import (
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
	"keyway/internal/plain"
)

// completionTime is how long Tab may take to ask a workspace for its jobs.
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
	ask.Env, ask.WaitDelay = a.Environ(), time.Second
	list, err := ask.Output()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return jobsIn(strings.NewReader(string(list)), name, args), cobra.ShellCompDirectiveNoFileComp
}

// jobsIn reads keyway ls --json; those that run come first.
func jobsIn(list io.Reader, name string, args []string) []cobra.Completion {
	var all []struct {
		Name, State string
		Command     []string
	}
	if json.NewDecoder(io.LimitReader(list, maxJobList)).Decode(&all) != nil {
		return nil
	}
	var running, ended []cobra.Completion
	for _, j := range all {
		job, err := keyway.ParseName(j.Name)
		full := name + "/" + string(job)
		if err != nil || slices.Contains(args, full) {
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
