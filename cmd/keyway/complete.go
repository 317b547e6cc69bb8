package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
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

// completionTime bounds how long completion waits for a workspace's list of jobs, and for the
// files of ssh's configuration, which may lie on a file system that does not answer.
const completionTime = 2 * time.Second

// completesAlone makes the bash script work without the bash-completion package, one of whose
// functions the script calls. Without the package, the parts of a word before and after a colon
// or an equals sign are completed separately.
func completesAlone(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	if all, _, err := root.Find([]string{"completion"}); err == nil {
		refuseOthers(all)
	}
	for _, shell := range []string{"bash", "zsh"} {
		if c, _, err := root.Find([]string{"completion", shell}); err == nil { // a page of man has 80 columns
			c.Long = strings.ReplaceAll(c.Long, " > $(brew", " \\\n\t    > $(brew")
		}
	}
	bash, _, err := root.Find([]string{"completion", "bash"})
	if err != nil {
		return
	}
	const call = `_get_comp_words_by_ref "$@" cur prev words cword`
	bash.Long = strings.Replace(bash.Long, "This script depends on the 'bash-completion' package.\nIf it is not installed already, you can install it via your OS's package manager.\n",
		"It also works where the bash-completion package is not installed.\n", 1)
	bash.RunE = func(cmd *cobra.Command, args []string) error {
		bare, err := cmd.Flags().GetBool("no-descriptions")
		var script bytes.Buffer
		if err == nil {
			err = root.GenBashCompletionV2(&script, !bare)
		}
		if err != nil {
			return err
		}
		_, err = io.WriteString(cmd.OutOrStdout(), strings.Replace(script.String(), call, `if declare -F _get_comp_words_by_ref >/dev/null; then
        `+call+`
    else
        words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    fi`, 1))
		return err
	}
}

// refuseOthers makes an unknown shell an error, because a shell reads the output.
func refuseOthers(completion *cobra.Command) {
	completion.Args, completion.RunE = cobra.ArbitraryArgs, func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return keyway.Errorf(keyway.Usage, "there is no completion for %.40q", args[0]).Hint("for example: keyway completion bash")
	}
	for _, shell := range completion.Commands() {
		shell.Args, shell.Example = takes(0, 0, ""), "  keyway completion "+shell.Name()
	}
}

// completeJobs completes NAME and NAME/JOB.
func completeJobs(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	name, _, job := strings.Cut(toComplete, "/")
	if !job {
		names, directive := completeWorkspaces(cmd, args, toComplete)
		return names, directive | cobra.ShellCompDirectiveNoSpace // a slash may follow
	}
	a, entry, err := appFor(name)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, err := a.listInside(entry, laptop.MaxJobList, func(ctx context.Context) (*exec.Cmd, error) {
		return a.InsideCommand(ctx, entry.Name, quietly, "ls", "--json")
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeList(list, name, args), cobra.ShellCompDirectiveNoFileComp
}

// listInside returns the output of a command in a workspace, up to most bytes, with an error if
// there is more. It fails if the workspace's place is not connected: completion connects to none.
func (a *app) listInside(entry sshconfig.Entry, most int, command func(context.Context) (*exec.Cmd, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	defer cancel()
	if !a.IsUp(ctx, entry.Place) {
		return nil, errors.New("the place is not connected")
	}
	ask, err := command(ctx)
	if err != nil {
		return nil, err
	}
	return bounded.Output(ask, most)
}

// completeList completes NAME/JOB from the output of keyway ls --json, running jobs first.
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

// completeCommands completes a workspace, and then a program in it; after that the shell completes
// files, of this machine.
func completeCommands(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return completeWorkspaces(cmd, args, toComplete)
	}
	if len(args) > 1 || strings.Contains(toComplete, "/") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	a, entry, err := appFor(args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, _ := a.listInside(entry, maxPrograms, func(ctx context.Context) (*exec.Cmd, error) { // some programs are better than none
		return a.SSHCommand(ctx, entry.Name, quietly, `exec sh -c 'IFS=:; for d in $PATH; do ls "$d" 2>/dev/null; done; true'`)
	})
	return programNames(list, toComplete), cobra.ShellCompDirectiveDefault
}

// maxPrograms bounds the bytes of the names of a workspace's programs.
const maxPrograms = 1 << 20

// programNames returns the names in a list, one on a line, that begin with a prefix.
func programNames(list []byte, prefix string) []cobra.Completion {
	var names []cobra.Completion
	for name := range strings.Lines(string(list)) {
		name = strings.TrimSuffix(name, "\n")
		if name != "" && strings.HasPrefix(name, prefix) && plain.Shell(name) == name {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// quietly are options for an ssh that neither asks nor tells.
var quietly = []string{"-o", "BatchMode=yes", "-o", "LogLevel=QUIET"}

// completePlaces completes a place: first the places that keyway knows, then the hosts that ssh's
// configuration names.
func completePlaces(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	names, directive := completeKnownPlaces(cmd, args, toComplete)
	hosts := make(chan []cobra.Completion, 1)
	go func() { hosts <- configuredHosts() }() // if the files do not answer, the process ends without waiting
	select {
	case more := <-hosts:
		names = append(names, slices.DeleteFunc(more, func(host string) bool { return slices.Contains(names, host) })...)
	case <-time.After(completionTime):
	}
	return names, directive
}

// completeKnownPlaces completes the places that keyway knows.
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

// configuredHosts returns the hosts of ssh's configuration that can be places. It omits
// workspaces, whose entries are in a file that the configuration includes.
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
