package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/plain"
	"keyway/internal/sshconfig"
)

func newMuxCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mux",
		Short: "Let ssh enter a workspace at once, over a connection that is kept open",
		Long: `Let ssh enter a workspace in one round trip. A separate process, the mux, keeps an SSH
connection open to each workspace for which it is on, and gives ssh, scp, sftp, rsync and
git sessions on it (OpenSSH's ControlPath). It is off by default.

keyway's agent decides about each session, as about a login, and logs it (keyway log).
After keyway lock, or without the key, there are no sessions. A rule of policy.yaml can
deny sessions to programs (keyway policy --help). Keys that need a confirmation or a touch
are not used. Ports, sockets and the agent are forwarded (-L, -R, -D, -W, -A), each as the
agent allows; ssh -O controls the forwardings. If the mux refuses a request or does not
support it, ssh makes a connection of its own: for -f, -v, LocalCommand, other users and
other keys, and for -N in a script. keyway run, ls NAME, logs, wait, attach, send and kill
use it, too.

Without a command, show where the mux is on, and whether it is ready.` + exitCodes(keyway.NotFound, keyway.BadConfig, keyway.NoKey),
		Example: "  keyway mux on train\n  keyway mux off train\n  keyway mux",
		Args:    takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := newApp()
			if err != nil {
				return err
			}
			return a.showMux(cmd.OutOrStdout())
		},
	}
	for _, on := range []bool{true, false} {
		cmd.AddCommand(newMuxSwitch(on))
	}
	cmd.AddCommand(&cobra.Command{
		Use:    "serve NAME",
		Short:  "Be the mux (started by keyway proxy)",
		Hidden: true,
		Args:   takes(1, 1, "a workspace"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := keyway.ParseName(args[0])
			if err != nil {
				return err
			}
			return serveMux(cmd.Context(), name, cmd.ErrOrStderr())
		},
	})
	return cmd
}

func newMuxSwitch(on bool) *cobra.Command {
	use, short := "off", "Let ssh connect to workspaces by itself"
	long := short + `. Sessions on a shared connection continue.`
	if on {
		use, short = "on", "Keep connections to workspaces open for ssh"
		long = short + `, from the next ssh on. The command
refuses a workspace for which your ssh configuration sets options that ssh ignores on a
shared connection: forwardings, or a ControlPath of your own.`
	}
	return &cobra.Command{
		Use:               use + " NAME…",
		Short:             short,
		Long:              long + exitCodes(keyway.NotFound, keyway.BadConfig),
		Example:           "  keyway mux " + use + " train",
		Args:              takes(1, -1, "a workspace"),
		ValidArgsFunction: completeWorkspaces,
		RunE: forEach(func(cmd *cobra.Command, a *app, arg string) error {
			e, err := a.Lookup(arg)
			if err == nil {
				err = a.UseMux(cmd.Context(), e, on)
			}
			return err
		}),
	}
}

func (a *app) showMux(stdout io.Writer) error {
	known, err := a.Hosts.List()
	if err != nil {
		return err
	}
	sockets, err := dirs.Mux()
	if err != nil {
		return err
	}
	none := true
	for _, e := range known {
		if !e.Mux {
			continue
		}
		none = false
		state := "not ready; the next ssh makes it so"
		if _, err := os.Stat(filepath.Join(sockets, string(e.Name))); err == nil {
			state = "ready"
		} else if why := whyNoMux(a, sockets, e.Name); why != "" {
			state = "not ready: " + why
		}
		if _, err := plain.Fprintf(stdout, "%s: %s\n", e.Name, state); err != nil {
			return err
		}
	}
	if none {
		_, err = fmt.Fprintln(stdout, toFill("the mux is off for all workspaces; switch it on: keyway mux on NAME"))
	}
	return err
}

// muxWanted reports whether a new workspace is to have the mux. The option decides, or
// config.yaml if the option was not given.
func muxWanted(cmd *cobra.Command, option bool) (bool, error) {
	if cmd.Flags().Changed("mux") {
		return option, nil
	}
	c, err := laptop.ReadConfig()
	return c.Mux, err
}

// switchMux switches the mux on for a new workspace. If that fails, the workspace stays.
func (a *app) switchMux(ctx context.Context, name keyway.Name, news io.Writer) {
	e, err := a.Lookup(string(name))
	if err == nil {
		err = a.UseMux(ctx, e, true)
	}
	if err != nil {
		fmt.Fprintf(news, "the mux stays off for %s: %s\n", name, plain.Text(keyway.AsError(err).Message))
	}
}

// holdReady has the mux hold the workspace ready for the next ssh.
func (a *app) holdReady(e sshconfig.Entry) {
	if e.Mux {
		startMux(a, e.Name)
	}
}
