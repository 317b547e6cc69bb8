package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"keyway/internal/bounded"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/session/option"
	"keyway/internal/watch"
)

func newRunCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run NAME [-d] [--as JOB] [--on-exit CMD] -- COMMAND…",
		Short: "Run a job in a workspace that no lost connection can end",
		Long: `Run a job in a workspace. Its output comes here; its log and exit code stay there.
The job goes on when this command, the connection, the bastion or the laptop ends:
come back with attach, logs or wait. At a terminal Ctrl-C asks whether to stop the job
or to leave it running, also where the output goes to a file or another program.

At a terminal the job gets a terminal too, also with -d; with -T it gets pipes, which
keep standard output and error apart, and in which Python is told to print at once
(PYTHONUNBUFFERED=1, unless it is set).

The end of a job that was started with -d is reported on this laptop's desktop, and by
the command of on-exit in config.yaml (see the README). --on-exit is a command in the
workspace.

Exit code: the job's own; 128 and the signal's number if a signal ended it; with -d
0 once it has started; 0 when you leave it running with ~d or at Ctrl-C's question; 31
if the workspace does not run; 255 if the connection failed.`,
		Example: `  keyway run train -- python train.py
  keyway run train -d --as exp7 -- torchrun --nproc-per-node 8 train.py
  keyway run train -d --on-exit 'touch /data/done' -- make
  keyway attach train/exp7`,
		ValidArgsFunction: completeCommands,
		RunE: func(cmd *cobra.Command, args []string) error {
			at := cmd.ArgsLenAtDash()
			if at < 0 {
				at = min(1, len(args))
			}
			if at != 1 || len(args) < 2 {
				return keyway.Errorf(keyway.Usage, "keyway run needs a workspace and a command").Hint("for example: keyway run train -- python train.py")
			}
			return runJob(cmd, args[0], args[1:])
		},
	}
	sharedOptions(cmd.Flags(), option.Run())
	return cmd
}

func runJob(cmd *cobra.Command, name string, command []string) error {
	f := cmd.Flags()
	detach, noTTY := isOn(f, "detach"), isOn(f, "no-tty")
	words := append([]string{"run"}, givenOptions(f, option.Run())...)
	if detach && !noTTY && !isOn(f, "tty") && interactive() { // the ssh that starts it has no terminal
		words = append(words, "-t")
	}
	words, err := withClipboard(words, isOn(f, "clipboard"))
	if err != nil {
		return err
	}
	words = append(append(words, "--"), command...)
	here := inside{terminal: interactive() && !detach && !noTTY}
	printed := bounded.Buffer{Max: 2 * keyway.MaxName} // the name of a job
	if detach {
		here.out = &printed
	}
	ended := make(chan os.Signal, 1) // by another command: the job does not notice it
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(ended)
	err = here.run(cmd.Context(), name, words...)
	switch {
	case err != nil && len(ended) > 0 && !detach:
		as, _ := f.GetString("as")
		fmt.Fprintf(cmd.ErrOrStderr(), "[ended by a signal; the job goes on; see it: keyway ls %s%s]\n", name, stopping(name, as))
	case err == nil && detach:
		return started(name, printed.String(), command)
	case keyway.Is(err, keyway.NoSpace) && !detach, errors.Is(err, brokenPipe) && unread(os.Stdout):
		fmt.Fprintf(cmd.ErrOrStderr(), "[no output arrives here any more; the job does not end by that: keyway ls %s]\n", name)
	case errors.Is(err, interrupted) && !here.terminal:
		return cmp.Or(afterInterrupt(cmd, name, command), err)
	}
	return err
}

// started prints the name of a job, as the workspace does, and has the link report its end. The
// job runs even if one of these fails.
func started(name, printed string, command []string) error {
	job, err := keyway.ParseName(strings.TrimSpace(printed))
	if err != nil {
		return keyway.Errorf(keyway.Untrusted, "%s does not say by what name the job runs: %w", name, err).
			Hint("see what runs: keyway ls %s", name)
	}
	err = watchJob(name, job, command)
	if _, lost := fmt.Println(job); lost != nil {
		return notWritten(lost).Hint("the job runs all the same: keyway attach %s/%s", name, job)
	}
	return err
}

// watchJob has the link report the end of a job.
func watchJob(name string, job keyway.Name, command []string) error {
	a, entry, err := appFor(name)
	if err != nil {
		return err
	}
	return watch.Add(a.JobsDir(), watch.Job{Workspace: entry.Name, Session: job, Command: strings.Join(command, " ")})
}

// withClipboard adds the clipboard's option to words if config.yaml asks for it and words do not
// contain it.
func withClipboard(words []string, given bool) ([]string, error) {
	if given {
		return words, nil
	}
	c, err := laptop.ReadConfig()
	if err == nil && c.Clipboard {
		words = append(words, "--clipboard")
	}
	return words, err
}

func newAttachCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "attach NAME[/JOB]",
		Short: "Attach to a job or terminal; without JOB, to a shell that keeps running",
		Long: `Show a job or terminal as it is now, with its history above, and continue in it. Without
JOB it is a shell that keeps running when you leave; it is started if there is none.
Several windows may be attached at once; the terminal takes the size of the one that was
typed in last.

Leave with ~d at the start of a line, or close the window. The job keeps running, and the
modes that its programs have set in your terminal are reset.

The job's output cannot set the clipboard of your terminal, unless you give --clipboard or
set clipboard: true in config.yaml.

Exit code: the job's own when it ends, 0 when you leave, 30 if there is no such job,
31 if the workspace does not run, 255 if the connection failed.`,
		Example:           "  keyway attach train\n  keyway attach train/exp7\n  keyway attach --view train/exp7   # watch without typing",
		Args:              takes(1, 1, "one workspace or job"),
		ValidArgsFunction: completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			f := cmd.Flags()
			words, err := withClipboard(append([]string{"attach"}, givenOptions(f, option.Attach())...), isOn(f, "clipboard"))
			if err != nil {
				return err
			}
			return inJob(cmd.Context(), inside{terminal: interactive()}, args[0], words...)
		},
	}
	sharedOptions(cmd.Flags(), option.Attach())
	return cmd
}

// killJob runs the workspace's kill command for the job that arg names.
func killJob(ctx context.Context, arg string, words ...string) error {
	name, session, err := jobArg(arg)
	if err == nil && session == "" {
		err = keyway.Errorf(keyway.Usage, "keyway kill needs a job, not only a workspace").
			Hint("for example: keyway kill %[1]s/JOB\nend the workspace itself: keyway stop %[1]s", name)
	}
	if err != nil {
		return err
	}
	return inside{}.run(ctx, name, append(words, session)...)
}

// inJob runs the workspace's keyway with words and the session that arg names.
func inJob(ctx context.Context, i inside, arg string, words ...string) error {
	name, session, err := jobArg(arg)
	if err != nil {
		return err
	}
	if session != "" {
		words = append(words, session)
	} else if i.again != nil { // for a guest that sends no marks, another session may be the newest by then
		i.again.unmarked = nil
	}
	return i.run(ctx, name, words...)
}

func newLogsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "logs NAME[/JOB] [-f] [--tail N] [--since TIME]",
		Short: "Print what a job has written",
		Long: `Print what a job has written so far; with -f, continue until it ends. Without JOB it is
the newest job. Lines that are drawn over, such as progress bars, are printed once, in their
last state, as a terminal of the job's size shows them. With -f a line is printed when it no
longer changes; on a terminal, the lines that may still change are shown below in their
current state. --raw prints every byte. A TIME is an age (30s, 45m, 12h, 2d), a time of
today by the workspace's clock (14:30), a date (2026-01-31) or both (2026-01-31T14:30:00Z).

Exit code: 0, 1 if bytes were skipped that a pipe or file should have got, 30 if there
is no such job, 31 if the workspace does not run, 255 if the connection failed.`,
		Example:           "  keyway logs train -f\n  keyway logs train/exp7 --tail 20\n  keyway logs train/exp7 -f --since 1h\n  keyway logs --raw train/exp7 >out",
		Args:              takes(1, 1, "one workspace or job"),
		ValidArgsFunction: completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			f := cmd.Flags()
			words := append([]string{"logs"}, givenOptions(f, option.Logs())...)
			// On a terminal, a progress bar that is being redrawn is shown in its latest state.
			here := inside{terminal: isOn(f, "follow") && !isOn(f, "raw") && interactive() && term.IsTerminal(int(os.Stderr.Fd()))}
			if isOn(f, "follow") {
				here.again = &resumption{told: cmd.ErrOrStderr()}
				if !isOn(f, "raw") {
					here.again.unmarked = new(since).words
				}
			}
			return inJob(cmd.Context(), here, args[0], words...)
		},
	}
	sharedOptions(cmd.Flags(), option.Logs())
	return cmd
}

func newWaitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "wait NAME[/JOB]",
		Short: "Wait for a job and exit with its exit code",
		Long: `Wait until a job ends and exit with its exit code. Without JOB it is the newest one.

Exit code: the job's own; 128 and the signal's number if a signal ended it; 30 if there
is no such job; 31 if the workspace does not run or the job left no exit code; 255 if
the connection failed.`,
		Example:           "  keyway wait train/exp7 && keyway rm train",
		Args:              takes(1, 1, "one workspace or job"),
		ValidArgsFunction: completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return inJob(cmd.Context(), inside{again: &resumption{unmarked: sameWords, outOnly: true, ends: true}}, args[0], "wait")
		},
	}
}

func newSendCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "send NAME/JOB KEYS…",
		Short: "Type keys into a job, or send it a signal",
		Long: `Type into a job without attaching to it, or send a signal to it. KEYS are text, or
names of keys, tmux's included: Enter, Tab, BTab, Space, Escape, BSpace, Up, Down,
Left, Right, Home, End, PPage (PageUp), NPage (PageDown), IC (Insert), DC (Delete), F1 to
F12, KP0 to KP9, KP/ KP* KP- KP+ KP. KPEnter; before a key or a character C-, M- and S-
stand for Ctrl, Alt and Shift, as in C-c, M-x, C-Left. Keys are encoded as the program has
requested from its terminal. A word that begins with SIG is a signal.

Exit code: 0, 30 if there is no such job, 31 if it or the workspace does not run, 255
if the connection failed.`,
		Example:           "  keyway send train/exp7 C-c\n  keyway send train/exp7 --signal USR1\n  keyway send train/shell 'make test' Enter",
		Args:              takes(1, -1, "a job and what to send"),
		ValidArgsFunction: completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, session, err := jobArg(args[0])
			if err != nil {
				return err
			}
			if session == "" {
				return keyway.Errorf(keyway.Usage, "keyway send needs a job, not only a workspace").Hint("for example: keyway send %s/JOB C-c\nsee the jobs: keyway ls %s", name, name)
			}
			words := append([]string{"send"}, givenOptions(cmd.Flags(), option.Send())...)
			words = append(words, "--", session)
			return inside{}.run(cmd.Context(), name, append(words, args[1:]...)...)
		},
	}
	sharedOptions(cmd.Flags(), option.Send())
	return cmd
}

func newKillCommand() *cobra.Command {
	grace := keyway.KillGrace
	cmd := &cobra.Command{
		Use:   "kill NAME/JOB… [--grace TIME]",
		Short: "End jobs with all their processes",
		Long: `End jobs. Each job gets SIGTERM; the processes that it has started get theirs when it has
ended. Processes that are left after the grace period are killed. Logs and exit codes stay.
A second kill with a shorter grace period shortens the time; --grace 0 kills at once.

Exit code: 0, 30 if there is no such job, 31 if it or the workspace does not run, 255
if the connection failed.`,
		Example:           "  keyway kill train/exp7\n  keyway kill --grace 2m train/exp7",
		Args:              takes(1, -1, "a job"),
		ValidArgsFunction: completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			words := []string{"kill", "--grace", strconv.FormatFloat(grace.Seconds(), 'f', -1, 64)}
			return each(args, cmd.ErrOrStderr(), func(arg string) error { return killJob(cmd.Context(), arg, words...) })
		},
	}
	cmd.Flags().Var((*graceValue)(&grace), "grace", "let the job end by itself within `TIME`, as in 30 or 2m; 0: none")
	return cmd
}
