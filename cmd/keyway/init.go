package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"keyway/internal/agentd"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/sshconfig"
)

type initOptions struct {
	yes, noPassphrase, service, print, undo bool
}

func newInitCommand() *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Prepare this laptop: a key if there is none, one line in ~/.ssh/config",
		Long: `Prepare this laptop, once. If there is no key in ~/.ssh or in your agent, keyway makes an
Ed25519 key, for which ssh-keygen asks for a passphrase. Then it shows the one Include line
by which ssh, scp, git and VS Code know your workspaces by name, and adds it at the top of
~/.ssh/config. It changes nothing else in that file. You can run it again at any time.

With --print it changes nothing, and prints the current entries of your workspaces, for
programs that read ~/.ssh/config themselves and do not follow Include (Paramiko, Fabric).
With --undo it removes that line from ~/.ssh/config, and says how to end the agent's service
if there is one. Keys and workspaces stay.` + exitCodes(keyway.BadConfig, keyway.NeedsAnswer),
		Example: "  keyway init\n  keyway init --yes       # in a script; ssh-keygen asks by SSH_ASKPASS\n  keyway init --service   # the agent starts when it is first asked\n  keyway init --print     # for Paramiko's SSHConfig.from_path",
		Args:    takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.print:
				return printHosts(cmd.OutOrStdout())
			case o.undo:
				return undoInit(cmd.Context(), o.yes, cmd.ErrOrStderr())
			}
			return runInit(cmd.Context(), o, cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&o.service, "service", false, "make the agent a service of yours: systemd starts it when it is first asked, launchd at every login")
	cmd.Flags().BoolVar(&o.print, "print", false, "print the entries of your workspaces, for programs that do not follow Include")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "answer yes to every question")
	cmd.Flags().BoolVar(&o.noPassphrase, "no-passphrase", false, "make the key without a passphrase: whoever copies the file has the key")
	cmd.Flags().BoolVar(&o.undo, "undo", false, "remove what init has added to ~/.ssh/config")
	for _, other := range []string{"service", "no-passphrase"} {
		exclusive(cmd, "print", "undo", other)
	}
	exclusive(cmd, "print", "yes")
	return cmd
}

// printHosts prints the generated ssh_config.
func printHosts(out io.Writer) error {
	a, err := newApp()
	if err != nil {
		return err
	}
	if err := a.Hosts.Sync(); err != nil {
		return err
	}
	config, err := os.ReadFile(a.Hosts.ConfigPath())
	if err != nil {
		return err
	}
	_, err = out.Write(config)
	return err
}

func runInit(ctx context.Context, o initOptions, news io.Writer) error {
	home, err := homeDirectory()
	if err != nil {
		return err
	}
	account, err := sshconfig.AccountHome(ctx)
	if err != nil {
		return err
	}
	if err := prepare(ctx, home, o, news); err != nil {
		return err
	}
	if account != "" && account != filepath.Clean(home) {
		tellHome(home, account, news)
	}
	return nil
}

// prepare writes into a home directory what keyway init sets up.
func prepare(ctx context.Context, home string, o initOptions, news io.Writer) error {
	a, err := newApp()
	if err != nil {
		return err
	}
	held, err := a.ownKey(ctx, home, o, news)
	if err != nil {
		return err
	}
	if o.service {
		if err := agentd.InstallService(home, a.Program, news); err != nil {
			return err
		}
	}
	if err := a.Hosts.Sync(); err != nil {
		return err
	}
	change, err := sshconfig.PlanInclude(home, a.Hosts.ConfigPath())
	if err != nil {
		return err
	}
	if !change.Needed() {
		fmt.Fprintf(news, "%s includes keyway's hosts already\n", change.Path)
		return nil
	}
	switch ok, err := applyIfWanted(ctx, change, "keyway init --yes", o.yes, news); {
	case err != nil:
		return err
	case !ok:
		return declined("left as it is; ssh will not know your workspaces by name").Hint("add the line later: keyway init")
	case held:
		fmt.Fprintln(news, "done")
	default:
		fmt.Fprintln(news, "done; now unlock your key: keyway unlock")
	}
	return nil
}

// tellHome warns that ssh does not read the directory that init has prepared.
func tellHome(home, account string, news io.Writer) {
	explain(news, keyway.Errorf(keyway.BadConfig, "HOME is %s, and this was done there; your ssh reads %s, and does not see it", home, filepath.Join(account, ".ssh")).
		Advise(keyway.PrepareIn, account), "note: ", "  ")
}

// undoInit removes from ~/.ssh/config what runInit has added.
func undoInit(ctx context.Context, yes bool, news io.Writer) error {
	home, err := homeDirectory()
	if err != nil {
		return err
	}
	a, err := newApp()
	if err != nil {
		return err
	}
	change, err := sshconfig.PlanRemoval(home, a.Hosts.ConfigPath())
	if err != nil {
		return err
	}
	if !change.Needed() {
		fmt.Fprintln(news, "~/.ssh/config does not include keyway's hosts")
	} else if ok, err := applyIfWanted(ctx, change, "keyway init --undo --yes", yes, news); err != nil {
		return err
	} else if !ok {
		return declined("left as it is")
	}
	if end := agentd.EndOfService(home); end != "" {
		fmt.Fprintf(news, "the agent is still a service; end it with:\n  %s\n", end)
	}
	return nil
}

// homeDirectory returns the home directory of the user.
func homeDirectory() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", keyway.Errorf(keyway.BadConfig, "there is no home directory: %w", err).Hint("set HOME")
	}
	return home, nil
}

// applyIfWanted shows a change, and makes it if the user agrees.
func applyIfWanted(ctx context.Context, change sshconfig.Change, flag string, yes bool, news io.Writer) (bool, error) {
	fmt.Fprintf(news, "%s:\n\n%s\n", change.Why, change.Diff())
	if ok, err := confirm(ctx, news, "Change it?", flag, yes); !ok || err != nil {
		return false, err
	}
	return true, change.Apply()
}

// ownKey reports which key the user has, and makes one if there is none. held is true if an agent
// has the key and no file does, so that there is nothing to unlock.
func (a *app) ownKey(ctx context.Context, home string, o initOptions, news io.Writer) (held bool, err error) {
	files := append(laptop.ConfiguredKeys(ctx), laptop.KeyFiles(home)...)
	keys, _ := a.Held(ctx)
	path := filepath.Join(home, ".ssh", "id_ed25519")
	switch _, err := os.Lstat(path + ".pub"); {
	case len(files) > 0:
		fmt.Fprintf(news, "using your key %s\n", files[len(files)-1])
		return false, nil
	case len(keys) > 0:
		fmt.Fprintf(news, "using what your agent holds: %s\n", laptop.Count(len(keys), "key"))
		return true, nil
	case err == nil: // ssh-keygen would replace it
		fmt.Fprintf(news, "making no key: there is %s.pub, the public half of one that an agent may hold\n", path)
		return true, nil
	}
	return false, makeKey(ctx, path, o, news)
}

// makeKey makes an Ed25519 key. ssh-keygen asks for the passphrase. -a 100 stands for 100 rounds
// of bcrypt_pbkdf, which make guessing slow.
func makeKey(ctx context.Context, path string, o initOptions, news io.Writer) error {
	args := []string{"-q", "-t", "ed25519", "-a", "100", "-f", path}
	switch {
	case o.noPassphrase:
		args = append(args, "-N", "")
	case !hasTerminal() && os.Getenv("SSH_ASKPASS") == "":
		return keyway.Errorf(keyway.NeedsAnswer, "a new key needs a passphrase, and there is no terminal to type it at").
			Hint("run keyway init in a terminal, or name a program that knows it in SSH_ASKPASS,\nor make the key without one: keyway init --no-passphrase")
	}
	fmt.Fprintf(news, "making a key: %s\n", path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := onTerminal(ctx, os.Environ(), nil, "ssh-keygen", args...); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return keyway.Errorf(keyway.WrongPassphrase, "ssh-keygen made no key: %w", err).Hint("try again: keyway init")
	}
	if !o.noPassphrase && isOpen(path) {
		fmt.Fprintf(news, "this key has no passphrase: whoever copies the file has the key; give it one with: ssh-keygen -p -f %s\n", path)
	}
	return nil
}

// isOpen reports whether the private key at path can be read without a passphrase.
func isOpen(path string) bool {
	data, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	_, err = ssh.ParseRawPrivateKey(data)
	return err == nil
}

// adviseInit tells the user the missing steps for "ssh NAME".
func (a *app) adviseInit(news io.Writer) {
	if a.RequireInclude() != nil {
		fmt.Fprintln(news, "ssh does not know it by name yet: keyway init")
	}
}
