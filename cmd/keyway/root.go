package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
	"keyway/internal/plain"
)

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "keyway",
		Short: "Unlock your SSH key once, reach any GPU container behind any bastion",
		Long: `Unlock your SSH key once, reach any GPU container behind any bastion, lose nothing.

  Once:            keyway init
  Every morning:   keyway unlock
  Then:            keyway up pytorch --on gpu1 --name train --gpus all
                   ssh train   (and scp, rsync, git, VS Code)
                   keyway run train -d -- python train.py
                   keyway logs train -f

A place is "local" or any host that your ssh can reach. A workspace is a container
or an environment there. Nothing has to be installed at the place or in the image.`,
		Version:       keyway.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		// cobra sets this only when it prints suggestions itself.
		SuggestionsMinimumDistance: 2,
		Args:                       cobra.ArbitraryArgs,
		RunE:                       runRoot,
	}
	root.AddGroup(
		&cobra.Group{ID: "key", Title: "Your key and this laptop:"},
		&cobra.Group{ID: "workspace", Title: "Workspaces:"},
		&cobra.Group{ID: "job", Title: "Jobs and terminals in them:"},
		&cobra.Group{ID: "operate", Title: "Under the hood:"},
	)
	add(root, "key", newInitCommand(), newUnlockCommand(), newLockCommand(), newKeysCommand(), newLogCommand(), newApproveCommand(), newPolicyCommand(), newDoctorCommand())
	add(root, "workspace", newUpCommand(), newAdoptCommand(), newLsCommand(), newSSHCommand(), newStopCommand(), newStartCommand(), newRmCommand(),
		newAddCommand(), newForgetCommand(), newStatusCommand(), newGPUsCommand(), newTemplatesCommand(), newCheckCommand(), newPinCommand(), newDriftCommand(), newImageCommand(), newBakeCommand(),
		newOpenCommand(), newPortsCommand())
	add(root, "job", newRunCommand(), newAttachCommand(), newLogsCommand(), newWaitCommand(), newSendCommand(), newKillCommand())
	add(root, "operate", newProxyCommand(), newMuxCommand(), newLinkCommand(), newAgentCommand(), newManCommand())
	if args, ok := standInForSSHAgent(os.Args); ok {
		root.SetArgs(args)
	}
	root.SetOut(&plain.Writer{To: os.Stdout})
	root.SetErr(&plain.Writer{To: os.Stderr})
	root.SetHelpFunc(help)
	root.SetHelpCommandGroupID("operate")
	root.SetCompletionCommandGroupID("operate")
	completesAlone(root)
	helpKnowsItsWords(root)
	root.SetFlagErrorFunc(badOption)
	return root
}

func add(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		root.AddCommand(c)
	}
}

// takes returns a check of the number of a command's operands. Its error names the operands.
func takes(min, max int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= min && (max < 0 || len(args) <= max) {
			return nil
		}
		problem := "needs " + what
		if max >= 0 && len(args) > max {
			problem = fmt.Sprintf("takes %s; leave %q out", what, args[max])
			if max == 0 {
				problem = fmt.Sprintf("takes no arguments; leave %q out", args[0])
			}
		}
		return keyway.Errorf(keyway.Usage, "%s %s", cmd.CommandPath(), problem).
			Hint("for example: %s", firstExample(cmd))
	}
}

// exclusive makes a command refuse a command line with more than one of the options.
func exclusive(cmd *cobra.Command, options ...string) {
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		first := ""
		for _, name := range options {
			switch {
			case !cmd.Flags().Changed(name):
			case first != "":
				return keyway.Errorf(keyway.Usage, "--%s and --%s exclude each other", first, name)
			default:
				first = name
			}
		}
		if before == nil {
			return nil
		}
		return before(cmd, args)
	}
}

func firstExample(cmd *cobra.Command) string {
	for line := range strings.Lines(cmd.Example) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return cmd.CommandPath() + " --help"
}

// exitCodes returns the section of a help text that lists the exit codes.
func exitCodes(kinds ...keyway.Kind) string {
	all := append([]keyway.Kind{keyway.Other, keyway.Usage, keyway.NoSpace}, kinds...)
	all = append(all, keyway.Interrupted)
	slices.SortFunc(all, func(a, b keyway.Kind) int { return code(a) - code(b) })
	var b strings.Builder
	b.WriteString("\n\nExit codes:\n   0  it worked\n")
	for _, k := range slices.Compact(all) {
		fmt.Fprintf(&b, " %3d  %s\n", code(k), kindMeaning[k])
	}
	return strings.TrimRight(b.String(), "\n")
}

func code(k keyway.Kind) int { return keyway.ExitCode(keyway.Errorf(k, "")) }

// placeKinds lists the errors that any command can get from a place that it needs.
var placeKinds = []keyway.Kind{
	keyway.UnknownPlace, keyway.Unreachable, keyway.HostKeyChanged, keyway.HostKeyUnknown, keyway.Denied,
	keyway.VersionMismatch, keyway.NeedsAnswer,
}

var kindMeaning = map[keyway.Kind]string{
	keyway.Other:           "it failed for a reason without a code of its own",
	keyway.Usage:           "the command line is wrong",
	keyway.UnknownPlace:    "there is no such host",
	keyway.Unreachable:     "the bastion or the place does not answer",
	keyway.HostKeyChanged:  "a host shows another key than before",
	keyway.HostKeyUnknown:  "a host's key was never accepted",
	keyway.Denied:          "a host does not accept your key",
	keyway.NoKey:           "the agent is gone or holds no key",
	keyway.WrongPassphrase: "the key was not unlocked",
	keyway.Untrusted:       "a place claims what it cannot prove",
	keyway.EngineAbsent:    "the engine is not installed",
	keyway.EngineDown:      "the engine does not run",
	keyway.EngineForbidden: "you may not use the engine",
	keyway.ImageNotFound:   "the image is absent and cannot be pulled",
	keyway.NameTaken:       "there is already a workspace of that name",
	keyway.NoSpace:         "a disk is full",
	keyway.NoGPU:           "the engine cannot give the GPUs",
	keyway.NotAllowed:      "the place's own templates do not allow it",
	keyway.NotFound:        "there is no workspace or job of that name",
	keyway.NotRunning:      "the workspace or the job does not run",
	keyway.GuestFailed:     "the SSH server in the workspace did not start",
	keyway.VersionMismatch: "the other end is of another version",
	keyway.Drifted:         "an environment is not the one that was pinned",
	keyway.BadConfig:       "a configuration file cannot be read or written",
	keyway.NeedsAnswer:     "keyway had to ask, and nobody was there to answer",
	keyway.Interrupted:     "interrupted",
}
