package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
	"keyway/internal/pipe"
)

func newProxyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "proxy NAME",
		Short: "Carry one SSH connection to a workspace (the ProxyCommand of ssh)",
		Long: `Carry one SSH connection to a workspace over standard input and output. keyway's ssh_config
names this command as ProxyCommand, so ssh, scp, sftp, rsync, git and VS Code run it by
themselves. Other SSH clients can use it the same way.

For OpenSSH's ssh the command ends at once: keyway's link carries the connection itself, and
no process copies the bytes. For every other client the command copies them until the end,
so that libraries that read ~/.ssh/config work unchanged. Libraries that do not follow
Include, such as Paramiko, need the entries themselves: keyway init --print.` + exitCodes(append(placeKinds, keyway.NotFound)...),
		Example: `  plink -proxycmd "keyway proxy train" root@train
  ssh -o ProxyCommand="keyway proxy train" root@train`,
		Args:              takes(1, 1, "one workspace"),
		ValidArgsFunction: completeWorkspaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runProxy(cmd.Context(), args[0])
		},
	}
	cmd.Flags().Bool("fdpass", false, "")
	_ = cmd.Flags().MarkHidden("fdpass") // entries of earlier versions contain it; the client's socket now tells
	return cmd
}

func runProxy(ctx context.Context, arg string) error {
	a, err := newApp()
	if err != nil {
		return err
	}
	a.ui.quiet = true // only questions and errors are shown: everything else that ssh's user sees is ssh's
	entry, err := a.Lookup(arg)
	if err != nil {
		return err
	}
	l, node, err := a.Connect(ctx, entry.Place)
	if err != nil {
		return err
	}
	a.SendKeys(ctx, node, entry)
	if entry.Proved.IsZero() { // an earlier keyway trusted the key at its first use
		if err := l.Prove(ctx, entry.Place, entry.Name, entry.HostKey); err == nil {
			_ = a.Hosts.Proved(entry) // if it fails, the next connection tries again
		}
	}
	a.holdReady(entry)
	if isOpenSSH() && givesPipes(os.Stdin, os.Stdout) {
		err := l.Proxy(ctx, entry.Place, entry.Name, entry.HostKey, os.Stderr, os.Stdin, os.Stdout)
		if !keyway.Is(err, keyway.VersionMismatch) { // the link is an earlier keyway's, and still carries connections
			return err
		}
	}
	conn, err := l.Stream(ctx, entry.Place, entry.Name, entry.HostKey, os.Stderr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if wantsDescriptor(os.Stdin, os.Stdout) {
		return passDescriptor(os.Stdout, conn)
	}
	// libssh and Paramiko end their proxy command by SIGTERM, and libssh waits until it has
	// ended.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	err = pipe.Stdio(conn, os.Stdin, os.Stdout)
	if ctx.Err() != nil {
		return interrupted
	}
	if !a.LinkRuns(ctx) {
		return keyway.Errorf(keyway.Other, "the process that carried this connection (keyway link) has ended, and the connection with it")
	}
	return err
}
