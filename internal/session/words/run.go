//go:build linux

package words

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/session/holder"
	"keyway/internal/session/option"
	"keyway/internal/session/view"
	"keyway/internal/session/wire"
)

const runUsage = `Usage: keyway run [-d] [--as NAME] [--on-exit CMD] [-t|-T] [--clipboard] [--] COMMAND [ARG…]

Runs COMMAND as a job: its output appears here, its log and exit code stay in the
workspace. The job does not depend on this connection: if it breaks, the job goes
on, and keyway attach shows it again. On a terminal Ctrl-C asks whether to stop the
job or to leave it running (a program that reads every key, as editors do, gets
Ctrl-C itself); without one, Ctrl-C leaves it running. The directory and the
environment are those of the caller, but for variables that speak of one terminal
or connection; on a terminal TERM is xterm-256color. With its output in a pipe or a
file all of it arrives there: the job waits rather than that more than the log keeps
is unread, until keyway run ends.

` + option.RunHelp + `
On a terminal, type ~d at the start of a line to detach, ~~ for one ~.

Examples:
  keyway run -- python train.py
  keyway run -d --as exp7 -- torchrun --nproc-per-node 8 train.py
  keyway run -d --on-exit 'echo "$KEYWAY_SESSION: $KEYWAY_EXIT_CODE" >>ended' -- make
  tar c src | keyway run -- tar x -C /data

Exit code: the job's own, but 1 instead of 0 if output or input is missing here; 128 + n if signal n ended it; 127 if there is no
such command, 126 if it cannot be run; 0 when detached; 130 after Ctrl-C without a
terminal; 2 wrong usage; 24 the name is in use; 25 no space left.
`

func runCommand() command {
	return command{
		name: "run", summary: "run a job that outlives this connection", usage: runUsage, run: (*cli).run,
		CommandLine: option.CommandLine{Strict: true, Options: option.Run().Options},
	}
}

func (c *cli) run(g option.Given) (int, error) {
	detach, args := g.Has("detach"), g.Words
	if len(args) == 0 || args[0] == "" {
		return 0, misused("run", "which command?")
	}
	var name keyway.Name
	if g.Has("as") {
		var err error
		if name, err = c.Parse(g.Values["as"]); err != nil {
			return 0, err
		}
	}
	tty, err := c.wantTTY(g)
	if err != nil {
		return 0, err
	}
	screen := tty && view.OnTerminal(c.In) && view.OnTerminal(c.Out)
	whole := !screen && !(view.OnTerminal(c.Out) && view.OnTerminal(c.Err))
	o := holder.Options{
		TTY: tty, NoInput: detach, Awaited: whole && !detach, OnExit: g.Values["on-exit"], Command: args,
		Window: c.Window(), Erase: c.eraseKey(),
	}
	if name, err = c.launch(name, o); err != nil {
		return 0, err
	}
	if detach {
		_, err := fmt.Fprintln(c.Out, name)
		fmt.Fprintf(c.Err, "[%s runs; see it: keyway attach %s]\n", c.Show(name), c.Show(name))
		return 0, err
	}
	return c.View(view.Viewing{Name: name, Keys: true, Input: true, Screen: screen, Asks: screen, Whole: whole, Clipboard: g.Has("clipboard")})
}

// wantTTY decides between a terminal and pipes.
func (c *cli) wantTTY(g option.Given) (bool, error) {
	yes, no := g.Has("tty"), g.Has("no-tty")
	if yes && no {
		return false, misused("run", "-t and -T exclude each other")
	}
	return yes || !no && view.OnTerminal(c.In) && view.OnTerminal(c.Out), nil
}

// eraseKey returns the character that the user's terminal sends to erase one; 0 if there is no
// terminal.
func (c *cli) eraseKey() byte {
	t, err := unix.IoctlGetTermios(int(c.In.Fd()), unix.TCGETS)
	if err != nil {
		return 0
	}
	return t.Cc[unix.VERASE]
}

// launch makes a session and returns when its job runs.
func (c *cli) launch(name keyway.Name, o holder.Options) (keyway.Name, error) {
	claim, err := c.Create(name, o.Command)
	if err != nil {
		return "", err
	}
	return claim.Name, holder.Start(claim, o)
}

const attachUsage = `Usage: keyway attach [--view] [--clipboard] [NAME]

Shows a session: its recent output, then what it prints, and passes on what you
type. Several may be attached at once; the terminal has the size of the one that typed
last. Of an ended session, it shows the end of the output, or the last screen.
Without NAME, a login shell that stays: the session "shell", made if there is none.

` + option.AttachHelp + `
Type ~d at the start of a line to detach (inside ssh too), ~~ for one ~. Closing
the window does the same. What is typed reaches a session only from a terminal;
use keyway send elsewhere. With --view, Ctrl-C detaches too.

Examples:
  keyway attach
  keyway attach exp7
  keyway attach --view exp7

Exit code: the job's own when it ends; 0 when detached; 2 wrong usage; 30 no such
session; 31 it runs no more and left no exit code.
`

// shellName is the name of the session that attach makes.
const shellName keyway.Name = "shell"

func attachCommand() command {
	return command{
		name: "attach", summary: "show a session and type into it; without NAME a shell that stays", usage: attachUsage, run: (*cli).attach,
		CommandLine: option.CommandLine{Options: option.Attach().Options},
	}
}

func (c *cli) attach(g option.Given) (int, error) {
	runtime.GOMAXPROCS(1) // starting and waking threads takes longer than they save
	look, args := g.Has("view"), c.Jobs(g.Words)
	name := shellName
	var err error
	switch len(args) {
	case 0:
		if !look {
			err = c.ensureShell()
		}
	case 1:
		name, err = c.Parse(args[0])
	default:
		err = misused("attach", "one session at a time")
	}
	if err != nil {
		return 0, err
	}
	if i, err := c.Load(name); err == nil && c.showsItself(i) {
		return 0, keyway.Errorf(keyway.Usage, "this is %s itself: it cannot be shown inside itself", c.Show(name))
	}
	keyboard := view.OnTerminal(c.In)
	return c.View(view.Viewing{
		Name: name, Keys: keyboard, Input: keyboard && !look, Start: -wire.Recent,
		Screen: keyboard && view.OnTerminal(c.Out), News: true,
		Clipboard: g.Has("clipboard"),
	})
}

// ensureShell makes the shell session if it does not run.
func (c *cli) ensureShell() error {
	if i, err := c.Load(shellName); err == nil && i.Alive() {
		return nil
	}
	if !view.OnTerminal(c.In) || !view.OnTerminal(c.Out) {
		return keyway.Errorf(keyway.Usage, "a shell needs a terminal, and this is not one").
			Hint("over ssh, ask for one: ssh -t; or run a command: %s -- COMMAND", c.Command("run"))
	}
	shell, err := c.shell()
	if err != nil {
		return err
	}
	if home, err := os.UserHomeDir(); err == nil {
		_ = os.Chdir(home) // as a login does; without a home directory, stay here
	}
	_, err = c.launch(shellName, holder.Options{TTY: true, Login: true, Command: []string{shell}, Window: c.Window(), Erase: c.eraseKey()})
	if keyway.Is(err, keyway.NameTaken) {
		return nil // another attach was faster
	}
	return err
}

// shell returns the user's login shell.
func (c *cli) shell() (string, error) {
	candidates := []string{os.Getenv("SHELL")}
	if info, err := c.home.ReadInfo(); err == nil {
		candidates = append(candidates, info.Shell)
	}
	for _, s := range append(candidates, "/bin/bash", "/bin/sh") {
		if st, err := os.Stat(s); filepath.IsAbs(s) && err == nil && st.Mode()&0o111 != 0 && !st.IsDir() {
			return s, nil
		}
	}
	return "", keyway.Errorf(keyway.NotFound, "this workspace has no shell").
		Hint("run a program: keyway run -t -- PROGRAM")
}
