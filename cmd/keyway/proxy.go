package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/link"
	"keyway/internal/pipe"
	"keyway/internal/plain"
	"keyway/internal/sshconfig"
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
			return runProxy(cmd, args[0])
		},
	}
	cmd.Flags().Bool("fdpass", false, "")
	_ = cmd.Flags().MarkHidden("fdpass") // entries of earlier versions contain it; the client's socket now tells
	return cmd
}

func runProxy(cmd *cobra.Command, arg string) error {
	ctx := cmd.Context()
	a, entry, l, err := reachForSSH(ctx, arg)
	if err != nil {
		return saidFirst(cmd, err)
	}
	guest := link.Guest{Place: entry.Place, Name: entry.Name, HostKey: entry.HostKey}
	news := os.Stderr
	switch os.Getenv(laptop.EnvOwnSSH) {
	case "":
		if news = sshErrors(); news != os.Stderr && news != nil && isTerminal(news) {
			news = nil // an ssh that continues in the background must not write there
		}
	case laptop.OnTerminal:
		if tty, err := openTerminal(); err == nil {
			defer tty.Close()
			news = tty
		}
	default:
		if !isTerminal(news) {
			news = nil // the command reads ssh's message
		}
	}
	if isOpenSSH() && givesPipes(os.Stdin, os.Stdout) {
		err := l.Proxy(ctx, guest, news, os.Stdin, os.Stdout)
		if !keyway.Is(err, keyway.VersionMismatch) { // of a link that an earlier keyway has started, and that carries on
			return saidFirst(cmd, err)
		}
	}
	conn, err := l.Stream(ctx, guest, news)
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

// reachForSSH brings the link to a workspace's place, and the place up to date.
func reachForSSH(ctx context.Context, arg string) (*app, sshconfig.Entry, *link.Client, error) {
	a, err := newApp()
	if err != nil {
		return nil, sshconfig.Entry{}, nil, err
	}
	a.ui.quiet = true // what ssh's user sees is ssh's; only questions and errors are ours
	entry, err := a.Laptop.Lookup(arg)
	if err != nil {
		return nil, entry, nil, otherRecords(arg, err)
	}
	l, node, err := a.Connect(ctx, entry.Place)
	if err != nil {
		return nil, entry, nil, err
	}
	begun := time.Now()
	a.SendKeys(ctx, node, entry)
	if out := sshErrors(); out != nil && time.Since(begun) > slowAgent {
		sayAgentHangs(out, cmp.Or(entry.Sent.Agent, a.AgentSocket(), os.Getenv("SSH_AUTH_SOCK")))
	}
	if entry.Proved.IsZero() { // an earlier keyway took its key on trust
		if err := l.Prove(ctx, entry.Place, entry.Name, entry.HostKey); err == nil {
			_ = a.Hosts.Proved(entry) // or the next time
		}
	}
	a.holdReady(entry)
	return a, entry, l, nil
}

// slowAgent is the time for sending keys after which the agent is asked whether it answers.
const slowAgent = time.Second

// sayAgentHangs tells the user of an ssh that the agent at socket does not answer, if so. That ssh is
// going to wait for it, and says nothing itself.
func sayAgentHangs(out io.Writer, socket string) {
	if socket != "" && link.AgentHangs(socket) {
		fmt.Fprintf(out, "keyway: the agent %s does not answer, and ssh waits for it\n", plain.Line(socket))
	}
}

// otherRecords returns err, or an error that explains why ssh's configuration has a workspace
// that keyway's records lack: ssh reads the one of the user's account, and keyway goes by variables.
func otherRecords(arg string, err error) error {
	if e := keyway.AsError(hostInstead(arg, err)); keyway.AsError(err).Message == e.Message {
		return err
	}
	dir, _ := dirs.State()
	return keyway.Errorf(keyway.NotFound, "your ssh knows %s, and the records in %s do not have it", arg, dir).
		Hint("is HOME or XDG_STATE_HOME another one than when the workspace was made?")
}

// saidFirst prints err before ssh learns that there is no connection, so that ssh adds as little as
// possible. For an ssh that a keyway command runs, it prints nothing: that command reads ssh's
// message.
func saidFirst(cmd *cobra.Command, err error) error {
	if err == nil || !isOpenSSH() || !givesPipes(os.Stdin, os.Stdout) || os.Getenv(laptop.EnvOwnSSH) != "" {
		return err
	}
	if out := sshErrors(); out != nil {
		code := report(out, cmd, err)
		link.EndIdentified(os.Stdin, os.Stdout)
		return exitStatus(code)
	}
	var status exitStatus
	if !errors.As(err, &status) {
		e := forEngines(cmd, whoSudoIs().advise(keyway.AsTold(err)))
		link.EndDisconnected(os.Stdin, os.Stdout, spelledOut(e))
	}
	return err
}

// sshErrors returns the standard error of the ssh that has started this process, or nil if it is
// not known. If a user's configuration has ControlPersist, ssh gives its proxy command the null
// device instead.
func sshErrors() *os.File {
	null, err := os.Stat(os.DevNull)
	own, ownErr := os.Stderr.Stat()
	if err != nil || ownErr != nil || !os.SameFile(null, own) {
		return os.Stderr
	}
	return parentErrors()
}
