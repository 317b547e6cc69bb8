package laptop

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/link"
	"keyway/internal/plain"
	"keyway/internal/sshconfig"
)

// FindSSH returns the path of the user's ssh, which must know the workspaces.
func (here *Laptop) FindSSH() (string, error) {
	path, err := exec.LookPath("ssh")
	if err != nil {
		return "", keyway.Errorf(keyway.Other, "there is no ssh: %w", err).Hint("install the OpenSSH client (Debian: apt-get install openssh-client)")
	}
	return path, here.RequireInclude()
}

// maxShellWords bounds, in bytes, the words of a command that are also sent for a shell.
const maxShellWords = 64 << 10

// remoteCommand returns a command of the workspace's keyway in two forms: as variables of the
// environment, which a guest reads without a shell, and as a line for a shell, for guests of
// earlier versions.
func remoteCommand(args []string) (command string, argv []string) {
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = shellQuote(arg)
	}
	if command = keyway.ArgvCommand + strings.Join(words, " "); len(command) > maxShellWords {
		command = keyway.ArgvCommand + "too-long-for-this-version" // which that one says of itself
	}
	return command, keyway.EncodeArgv(args)
}

// EnvOwnSSH is set for an ssh of InsideCommand, and so for its proxy command. The value OnTerminal says
// that the user reads standard error at the controlling terminal, although it is a pipe here.
const (
	EnvOwnSSH  = "KEYWAY_OWN_SSH"
	OnTerminal = "terminal"
)

// InsideCommand returns an ssh with a command of the workspace's keyway; see SSHCommand. The given
// options of ssh precede its own.
func (here *Laptop) InsideCommand(ctx context.Context, workspace keyway.Name, options []string, args ...string) (*exec.Cmd, error) {
	command, env := remoteCommand(args)
	cmd, err := here.SSHCommand(ctx, workspace, append(slices.Clone(options), "-o", "SendEnv="+keyway.EnvArgv+"*"), command)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(append(cmd.Env, env...), EnvOwnSSH+"=1")
	return cmd, nil
}

// SSHCommand returns the user's ssh, not yet started, with a command for a workspace. LogLevel
// keeps ssh from printing "Connection to train closed." after the command's own output; errors are
// still printed.
func (here *Laptop) SSHCommand(ctx context.Context, workspace keyway.Name, options []string, command string) (*exec.Cmd, error) {
	path, err := here.FindSSH()
	if err != nil {
		return nil, err
	}
	args := slices.Concat(options, []string{"-o", "LogLevel=ERROR", "-o", "RequestTTY=no"}, link.OwnOptions(), []string{"--", string(workspace), command})
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = here.Environ()
	return cmd, nil
}

// notRunningTimeout is the time that the place has to say why a connection failed.
const notRunningTimeout = 10 * time.Second

// NotRunning reports whether a connection to a workspace failed because it does not run or is another one
// by now, or why its place cannot be reached. If that cannot be found out, it is nil: ssh has printed its
// own message.
func (here *Laptop) NotRunning(ctx context.Context, entry sshconfig.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, notRunningTimeout)
	defer cancel()
	unseen := *here
	unseen.UI = noProgress{here.UI}
	if err := link.JustFailed(ctx, here.runtime, entry.Place); err != nil {
		return err // for which ssh has waited long enough
	}
	node, err := unseen.Node(ctx, entry.Place)
	if api.Cut(err) { // the link has ended meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	list, err := node.List(ctx)
	if err != nil {
		return nil
	}
	for _, w := range list.Workspaces {
		if w.Name != entry.Name {
			continue
		}
		if err := entry.SameWorkspace(w); err != nil {
			return err
		}
		if w.State != keyway.Running && w.State != keyway.Unknown && w.State != keyway.Elsewhere {
			why := string(w.State)
			if w.Reason != "" && w.Reason != why {
				why += " (" + plain.Line(w.Reason) + ")"
			}
			return keyway.Errorf(keyway.NotRunning, "%s does not run: it is %s", entry.Name, why).
				Advise(keyway.StartWorkspace, entry.Place.Of(entry.Name))
		}
	}
	return nil
}

// noProgress is a person who does not wait.
type noProgress struct{ UI }

// Progress implements UI.
func (noProgress) Progress(keyway.Progress) {}

// shellQuote makes s one word for a POSIX shell.
func shellQuote(s string) string {
	plain := s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./,:=+@%", r))
	}) < 0
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
