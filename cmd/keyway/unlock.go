package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"keyway/internal/agent"
	"keyway/internal/agents"
	"keyway/internal/bounded"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/plain"
	"keyway/internal/policy"
)

func newUnlockCommand() *cobra.Command {
	var o unlockOptions
	cmd := &cobra.Command{
		Use:   "unlock [KEYFILE…]",
		Short: "Unlock your key: the day's one prompt",
		Long: `Add your key to the SSH agent; ssh-add asks for its passphrase. The command uses the agent
at SSH_AUTH_SOCK, or starts keyway's own if there is none. Without KEYFILE it adds the
default keys in ~/.ssh. For a key that the agent already holds it asks for no passphrase,
unless -t extends the key's lifetime; keyway's agent shortens the lifetime without asking.

With --forget-on, keyway's agent forgets every key after a time without a signature
(idle=30m), when the machine goes to sleep (sleep), and when the screen is locked
(screen-lock, if systemd-logind reports it; elsewhere, let your screen locker run keyway
lock). To make this permanent, write the same words as a list into policy.yaml:
forget: [idle=30m, sleep].` +
			exitCodes(keyway.NoKey, keyway.WrongPassphrase, keyway.BadConfig, keyway.NeedsAnswer),
		Example: "  keyway unlock\n  keyway unlock -t 12h   # the agent forgets the keys after 12 hours\n  keyway unlock --forget-on idle=30m,sleep,screen-lock\n  keyway unlock ~/.ssh/id_work",
		RunE: func(cmd *cobra.Command, args []string) error {
			return runUnlock(cmd.Context(), args, o, cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringSliceVar(&o.forgetOn, "forget-on", nil, "forget every key on a `TRIGGER`: idle=TIME, sleep, screen-lock, or never")
	cmd.Flags().StringVarP(&o.life, "lifetime", "t", "", "keep it for `TIME`, such as 12h (default: until the agent ends)")
	return cmd
}

type unlockOptions struct {
	life     string
	forgetOn []string
}

func runUnlock(ctx context.Context, files []string, o unlockOptions, news io.Writer) error {
	a, err := newApp()
	if err != nil {
		return err
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return keyway.Errorf(keyway.BadConfig, "there is no home directory: %w", err).Hint("set HOME")
	}
	if len(files) == 0 {
		files = laptop.KeyFiles(home)
	}
	if keys, _ := a.Held(ctx); len(files) == 0 && len(keys) > 0 {
		fmt.Fprintf(news, "nothing to unlock: your agent holds %s, and there is no key file in %s\n", laptop.Count(len(keys), "key"), filepath.Join(home, ".ssh"))
		return nil
	}
	if err := a.startAgent(ctx, o.forgetOn != nil || laptop.WantsOwnAgent(), news); err != nil {
		return err
	}
	if o.forgetOn != nil {
		if err := forgetOn(ctx, o.forgetOn, news); err != nil {
			return err
		}
	}
	if len(files) == 0 {
		return keyway.Errorf(keyway.NoKey, "there is no key in %s", filepath.Join(home, ".ssh")).Hint("make one: keyway init\nor name yours: keyway unlock KEYFILE")
	}
	life, err := o.lifetime()
	if err != nil {
		return err
	}
	locked, err := a.Locked(ctx, files)
	if err != nil {
		return err
	}
	locked, changed := shortened(ctx, files, locked, life, news)
	if len(locked) == 0 && changed {
		return a.Hosts.Sync()
	}
	if len(locked) == 0 {
		fmt.Fprintln(news, "unlocked already; lock with: keyway lock")
		return a.Hosts.Sync()
	}
	for _, f := range locked {
		if err := laptop.CheckKeyFile(f); err != nil {
			return err
		}
	}
	args := []string{"-q"}
	if life > 0 {
		args = append(args, "-t", strconv.Itoa(int(life/time.Second)))
	}
	said := bounded.Buffer{Max: maxSSHWords}
	if err := onTerminal(ctx, a.Environ(), &said, "ssh-add", append(append(args, "--"), locked...)...); err != nil {
		return a.notUnlocked(ctx, err, said.String())
	}
	for _, f := range locked {
		fmt.Fprintf(news, "unlocked %s%s\n", f, forLife(life))
	}
	watchFiles(ctx, locked)
	return a.Hosts.Sync()
}

// refusedByAgent is ssh-add's message that the agent has not taken a key.
const refusedByAgent = "agent refused operation"

// notUnlocked returns why ssh-add has failed, judging by its standard error.
func (a *app) notUnlocked(ctx context.Context, err error, said string) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if strings.Contains(said, refusedByAgent) {
		return a.agentRefuses(ctx)
	}
	if !hasTerminal() && os.Getenv("SSH_ASKPASS") == "" {
		return keyway.Errorf(keyway.NeedsAnswer, "not unlocked: there is no terminal to type the passphrase at").
			Hint("run keyway unlock in a terminal, or name a program that knows it in SSH_ASKPASS")
	}
	if file, why, ok := unreadKey(said); ok {
		return keyway.Errorf(keyway.NoKey, "not unlocked: %s is damaged, or of a form that this ssh does not read (%s)", file, why).
			Hint("see whether ssh-keygen reads it: ssh-keygen -y -f %s\nif it has line ends of Windows: sed -i 's/\\r$//' %[1]s", plain.Shell(file))
	}
	return keyway.Errorf(keyway.WrongPassphrase, "not unlocked: the passphrase was wrong or not given").Hint("try again: keyway unlock")
}

// wrongPassphrase is ssh-add's message for a key file whose passphrase is wrong.
const wrongPassphrase = "incorrect passphrase supplied to decrypt private key"

// unreadKey finds, in ssh-add's messages, the key file that it could not load, and the reason.
func unreadKey(said string) (file, why string, ok bool) {
	for line := range strings.Lines(said) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), `Error loading key "`)
		if file, why, cut := strings.Cut(rest, `": `); ok && cut && why != wrongPassphrase {
			return file, why, true
		}
	}
	return "", "", false
}

// agentRefuses returns why an agent accepts no key, with the step that changes it.
func (a *app) agentRefuses(ctx context.Context) error {
	if !agents.IsEmpty(ctx, a.Environ()) {
		return keyway.Errorf(keyway.NoKey, "not unlocked: the agent refuses the key").
			Hint("see why, if the agent is keyway's: keyway log")
	}
	socket := cmp.Or(a.AgentSocket(), os.Getenv("SSH_AUTH_SOCK"))
	return keyway.Errorf(keyway.NoKey, "not unlocked: the agent lists no key and takes none: it is locked with a passphrase of its own (ssh-add -x)").
		Hint("unlock the agent with that passphrase: SSH_AUTH_SOCK=%s ssh-add -X", plain.Shell(socket))
}

// startAgent starts an agent if none listens, and tells the user. With own set, it must be one of
// keyway's.
func (a *app) startAgent(ctx context.Context, own bool, news io.Writer) error {
	path, err := a.EnsureAgent(ctx, own)
	if err != nil || path == "" {
		return err
	}
	fmt.Fprintf(news, "started the agent at %s; what it signs: keyway log\n", path)
	if os.Getenv("SSH_AUTH_SOCK") != path {
		fmt.Fprintf(news, "for plain ssh to other hosts, in your shell's profile: export SSH_AUTH_SOCK=%s\n", path)
	}
	return nil
}

// lifetime returns how long the agent keeps the keys; 0 means until the agent ends.
func (o unlockOptions) lifetime() (time.Duration, error) {
	if o.life == "" {
		return 0, nil
	}
	life, err := policy.ParseDuration(o.life)
	if err != nil {
		return 0, keyway.Errorf(keyway.Usage, "-t: %w", err).Hint("for example: keyway unlock -t 12h")
	}
	return life, nil
}

// forLife describes how -t was read: a bare number is seconds, as with ssh-add.
func forLife(life time.Duration) string {
	if life == 0 {
		return ""
	}
	return ", for " + spellOut(life)
}

// spellOut returns d in words, such as "1 hour 30 minutes".
func spellOut(d time.Duration) string {
	var words []string
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		if n := int(d / unit.size); n > 0 {
			words = append(words, laptop.Count(n, unit.name))
			d %= unit.size
		}
	}
	return strings.Join(words, " ")
}

// shortened has the agent forget the keys of files that it already holds after life. Where it
// cannot, because the agent is not keyway's or the key would stay longer, it adds the file to
// locked, and the key is loaded again with its passphrase.
func shortened(ctx context.Context, files, locked []string, life time.Duration, news io.Writer) (still []string, changed bool) {
	if life == 0 {
		return locked, false
	}
	c, _, err := dialAgent()
	if err != nil {
		return locked, false
	}
	defer c.Close()
	for _, f := range files {
		if slices.Contains(locked, f) {
			continue
		}
		done := false
		if public, err := os.ReadFile(f + ".pub"); err == nil {
			if key, _, _, _, err := ssh.ParseAuthorizedKey(public); err == nil {
				done, _ = c.Shorten(ctx, ssh.FingerprintSHA256(key), life)
			}
		}
		if !done {
			fmt.Fprintf(news, "the agent holds %s already; to keep it for %s it needs the passphrase once more\n", f, spellOut(life))
			locked = append(locked, f)
			continue
		}
		changed = true
		fmt.Fprintf(news, "unlocked already: %s, now for %s\n", f, spellOut(life))
	}
	return locked, changed
}

// watchFiles has the agent forget keys when their files are removed. Only keyway's agent can, and
// a file without its public half is not watched.
func watchFiles(ctx context.Context, files []string) {
	c, _, err := dialAgent()
	if err != nil {
		return
	}
	defer c.Close()
	for _, f := range files {
		if path, err := filepath.Abs(f); err == nil {
			_ = c.Watch(ctx, path)
		}
	}
}

// forgetOn tells the agent on which events to forget keys.
func forgetOn(ctx context.Context, words []string, news io.Writer) error {
	f, err := policy.ParseForget(words)
	if err != nil {
		return keyway.Errorf(keyway.Usage, "--forget-on: %w", err).Hint("for example: keyway unlock --forget-on idle=30m,sleep,screen-lock")
	}
	c, _, err := dialAgent()
	if err != nil {
		return err
	}
	defer c.Close()
	warning, err := c.Forget(ctx, f)
	if errors.Is(err, agent.ErrOtherAgent) {
		return keyway.Errorf(keyway.BadConfig, "the agent is not keyway's, or is locked: it cannot forget keys on a trigger").
			Hint("have keyway start its own: SSH_AUTH_SOCK= keyway unlock --forget-on %s", plain.Shell(strings.Join(words, ",")))
	}
	if warning != "" {
		fmt.Fprintf(news, "%s\n  → have your screen's locker run: keyway lock\n", warning)
	}
	return err
}

func newLockCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "lock",
		Short: "Make the agent forget every key",
		Long: "Make the agent forget every key that it holds. Every other agent that keyway has started for\n" +
			"you on this machine, such as one with another XDG_RUNTIME_DIR, forgets its keys, too. Open\n" +
			"connections stay open." + exitCodes(keyway.NoKey),
		Example: "  keyway lock",
		Args:    takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := newApp()
			if err != nil {
				return err
			}
			own := cmp.Or(a.AgentSocket(), os.Getenv("SSH_AUTH_SOCK"))
			others, err := agents.Others(own)
			if err != nil {
				return err
			}
			locked, err := agents.Forget(cmd.Context(), a.Environ(), others)
			if locked > 1 {
				fmt.Fprintf(cmd.ErrOrStderr(), "%d agents of yours have forgotten their keys\n", locked)
			}
			if err != nil && agents.IsEmpty(cmd.Context(), a.Environ()) {
				return keyway.Errorf(keyway.NoKey, "%w", err).Hint("unlock the agent with that passphrase, then its keys can be forgotten: SSH_AUTH_SOCK=%s ssh-add -X", plain.Shell(own))
			}
			if err != nil {
				return keyway.Errorf(keyway.NoKey, "%w", err).Hint("see which agent that is: keyway doctor\nstart one and unlock your key: keyway unlock")
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "locked; unlock with: keyway unlock")
			if keys, named := a.Held(cmd.Context()); named != "" {
				plain.Fprintf(cmd.ErrOrStderr(), "the agent at %s, which your ~/.ssh/config names, still has %s: its own program locks it\n", named, laptop.Count(len(keys), "key"))
			}
			return nil
		},
	}
}
