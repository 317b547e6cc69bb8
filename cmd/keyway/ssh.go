package main

import (
	"github.com/spf13/cobra"

	"keyway/internal/keyway"
)

func newSSHCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "ssh NAME [SSH-OPTION…] [COMMAND…]",
		Short:              "Enter a workspace: exec ssh NAME",
		Long:               "Enter a workspace. This runs your own ssh with the arguments unchanged, so all of its\noptions work; \"ssh NAME\" does the same.\n\nExit code: that of ssh, which is the command's own, or 255 when the connection failed.",
		Example:            "  keyway ssh train\n  keyway ssh train nvidia-smi\n  keyway ssh train -L 8888:localhost:8888",
		DisableFlagParsing: true,
		ValidArgsFunction:  completeCommands,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return keyway.Errorf(keyway.Usage, "keyway ssh needs a workspace").Hint("for example: keyway ssh train")
			}
			if args[0] == "-h" || args[0] == "--help" {
				return cmd.Help()
			}
			a, entry, err := appFor(args[0])
			if err != nil {
				return err
			}
			return a.ssh(append([]string{string(entry.Name)}, args[1:]...)...)
		},
	}
}

// ssh replaces this process by the user's ssh.
func (a *app) ssh(args ...string) error {
	path, err := a.FindSSH()
	if err != nil {
		return err
	}
	return become(path, append([]string{"ssh"}, args...), a.Environ())
}
