package main

import (
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"keyway/internal/keyway"
)

func newSSHCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "ssh NAME [SSH-OPTION…] [COMMAND…]",
		Short:              "Enter a workspace: exec ssh NAME",
		Long:               "Enter a workspace. This runs your own ssh with the arguments as they are, so all of\nits options work; plain \"ssh NAME\" is the same.\n\nExit code: what ssh exits with: the command's own, or 255 when the connection failed.",
		Example:            "  keyway ssh train\n  keyway ssh train nvidia-smi\n  keyway ssh train -L 8888:localhost:8888",
		DisableFlagParsing: true,
		ValidArgsFunction:  completeWorkspaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return keyway.Errorf(keyway.Usage, "keyway ssh needs a workspace").Hint("for example: keyway ssh train")
			}
			if args[0] == "-h" || args[0] == "--help" {
				return cmd.Help()
			}
			a, err := newApp()
			if err != nil {
				return err
			}
			entry, err := a.lookup(args[0])
			if err != nil {
				return err
			}
			return a.ssh(append([]string{string(entry.Name)}, args[1:]...)...)
		},
	}
}

// ssh becomes the user's ssh.
func (a *app) ssh(args ...string) error {
	path, err := exec.LookPath("ssh")
	if err != nil {
		return keyway.Errorf(keyway.Other, "there is no ssh: %w", err).Hint("install the OpenSSH client (Debian: apt-get install openssh-client)")
	}
	if err := a.requireInclude(); err != nil {
		return err
	}
	return become(path, append([]string{"ssh"}, args...), a.environ())
}

// inWorkspace becomes an ssh that runs the workspace's own keyway command: what
// it prints, asks and exits with reaches the user as if it ran here.
func inWorkspace(name string, terminal bool, args ...string) error {
	a, err := newApp()
	if err != nil {
		return err
	}
	entry, err := a.lookup(name)
	if err != nil {
		return err
	}
	words := []string{"keyway"}
	for _, arg := range args {
		words = append(words, shellQuote(arg))
	}
	ssh := []string{}
	if terminal {
		ssh = append(ssh, "-t")
	}
	// LogLevel keeps ssh from adding "Connection to train closed." to the job's
	// own last words; errors still show.
	ssh = append(ssh, "-o", "LogLevel=ERROR", string(entry.Name), strings.Join(words, " "))
	return a.ssh(ssh...)
}

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

// interactive says whether a person sits at both standard streams.
func interactive() bool {
	return term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd()))
}

// splitSession splits NAME[/SESSION].
func splitSession(arg string) (name, session string) {
	name, session, _ = strings.Cut(arg, "/")
	return name, session
}

func newRunCommand() *cobra.Command {
	var detach, tty, noTTY bool
	var as string
	cmd := &cobra.Command{
		Use:   "run NAME [-d] [--as JOB] -- COMMAND…",
		Short: "Run a job in a workspace that no lost connection can end",
		Long: `Run a job in a workspace. Its output comes here; its log and exit code stay there.
The job goes on when this command, the connection, the bastion or the laptop ends:
come back with attach, logs or wait.

Exit code: the job's own; 128 and the signal's number if a signal ended it; with -d
0 once it has started; 255 if the connection failed.`,
		Example: `  keyway run train -- python train.py
  keyway run train -d --as exp7 -- torchrun --nproc-per-node 8 train.py
  keyway attach train/exp7`,
		ValidArgsFunction: completeWorkspaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			at := cmd.ArgsLenAtDash()
			if at < 0 {
				at = min(1, len(args))
			}
			if at != 1 || len(args) < 2 {
				return keyway.Errorf(keyway.Usage, "keyway run needs a workspace and a command").Hint("for example: keyway run train -- python train.py")
			}
			inside := []string{"run"}
			if detach {
				inside = append(inside, "-d")
			}
			if as != "" {
				inside = append(inside, "--as", as)
			}
			terminal := !detach && (tty || interactive() && !noTTY)
			inside = append(append(inside, "--"), args[1:]...)
			return inWorkspace(args[0], terminal, inside...)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&detach, "detach", "d", false, "only start it, and print its name")
	f.StringVar(&as, "as", "", "`name` of the job (default: made from the command's)")
	f.BoolVarP(&tty, "tty", "t", false, "give it a terminal even if this is none")
	f.BoolVarP(&noTTY, "no-tty", "T", false, "give it no terminal: standard output and error stay apart")
	f.SetInterspersed(true)
	return cmd
}

func newAttachCommand() *cobra.Command {
	var view bool
	cmd := &cobra.Command{
		Use:   "attach NAME[/JOB]",
		Short: "Come back to a job or terminal; without JOB, to a shell that stays",
		Long: `Show a job or terminal as it is now, and go on in it. Without JOB it is a shell that
stays when you leave; it is made if there is none.

Leave with ~d at the start of a line, or close the window: what runs goes on.

Exit code: the job's own when it ends, 0 when you leave, 255 if the connection failed.`,
		Example:           "  keyway attach train\n  keyway attach train/exp7\n  keyway attach --view train/exp7      look on, type nothing",
		Args:              takes(1, 1, "one workspace or job"),
		ValidArgsFunction: completeWorkspaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, session := splitSession(args[0])
			inside := []string{"attach"}
			if view {
				inside = append(inside, "--view")
			}
			if session != "" {
				inside = append(inside, session)
			}
			return inWorkspace(name, interactive(), inside...)
		},
	}
	cmd.Flags().BoolVar(&view, "view", false, "only look on")
	return cmd
}

func newLogsCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:               "logs NAME[/JOB] [-f]",
		Short:             "Print what a job has written",
		Long:              "Print what a job has written so far; with -f go on until it ends. Without JOB it is\nthe newest one.\n\nExit code: 0, 30 if there is no such job, 255 if the connection failed.",
		Example:           "  keyway logs train -f\n  keyway logs train/exp7",
		Args:              takes(1, 1, "one workspace or job"),
		ValidArgsFunction: completeWorkspaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, session := splitSession(args[0])
			inside := []string{"logs"}
			if follow {
				inside = append(inside, "-f")
			}
			if session != "" {
				inside = append(inside, session)
			}
			return inWorkspace(name, false, inside...)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the job ends")
	return cmd
}

func newWaitCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "wait NAME[/JOB]",
		Short:             "Wait for a job and exit with its exit code",
		Long:              "Wait until a job ends and exit with its exit code. Without JOB it is the newest one.\n\nExit code: the job's own; 128 and the signal's number if a signal ended it; 30 if there\nis no such job; 255 if the connection failed.",
		Example:           "  keyway wait train/exp7 && keyway rm train",
		Args:              takes(1, 1, "one workspace or job"),
		ValidArgsFunction: completeWorkspaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, session := splitSession(args[0])
			inside := []string{"wait"}
			if session != "" {
				inside = append(inside, session)
			}
			return inWorkspace(name, false, inside...)
		},
	}
}
