//go:build linux

package words

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/screen"
	"keyway/internal/session"
	"keyway/internal/session/option"
	"keyway/internal/session/wire"
)

const sendUsage = `Usage: keyway send [--text] NAME KEYS|SIGNAL…
       keyway send --signal SIGNAL NAME

Types into a session or signals its job. KEYS are text, or names of keys, also as
tmux has them: Enter, Tab, BTab, Space, Escape, BSpace, Up, Down, Left, Right, Home,
End, PPage (PageUp), NPage (PageDown), IC (Insert), DC (Delete), F1 to F12, KP0 to
KP9, KP/ KP* KP- KP+ KP. KPEnter. C-, M- and S- before a key or a character stand for
Ctrl, Alt and Shift, as in C-c, M-x, C-Left. Keys are sent as the program has asked
its terminal for them. A SIGNAL begins with SIG and goes to what runs in the
foreground. A job without a terminal gets C-c, C-\ and C-z as signals, and C-d as the
end of its input.

` + option.SendHelp + `
Examples:
  keyway send exp7 C-c
  keyway send --signal USR1 exp7
  keyway send shell "make test" Enter

Exit code: 0; 2 wrong usage; 30 no such session; 31 it does not run.
`

func sendCommand() command {
	return command{
		name: "send", summary: "type keys into a session, or signal its job", usage: sendUsage, run: (*cli).send,
		CommandLine: option.CommandLine{Options: option.Send().Options},
	}
}

func (c *cli) send(g option.Given) (int, error) {
	args := g.Words
	if sig, ok := g.Values["signal"]; ok && len(args) == 1 {
		args = append(args, "SIG"+strings.TrimPrefix(strings.ToUpper(sig), "SIG"))
	} else if ok {
		return 0, misused("send", "--signal goes to one session, without keys")
	}
	if len(args) < 2 {
		return 0, misused("send", "a session and what to send are needed")
	}
	name, err := c.Parse(args[0])
	if err != nil {
		return 0, err
	}
	i, err := c.mustRun(name)
	if err != nil {
		return 0, err
	}
	frames, err := framesFor(args[1:], i.TTY, g.Has("text"))
	if err != nil {
		return 0, err
	}
	conn, err := wire.Connect(i.Path, wire.Hello{Flags: wire.FlagInput})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	for _, m := range frames {
		if err := conn.Write(m); err != nil {
			return 0, keyway.Errorf(keyway.NotRunning, "%s ended meanwhile", c.Show(name))
		}
	}
	return 0, nil
}

// framesFor converts the words of send into frames.
func framesFor(words []string, tty, text bool) ([]wire.Message, error) {
	var frames []wire.Message
	for _, w := range words {
		m, err := frameFor(w, tty, text)
		if err != nil {
			return nil, err
		}
		frames = append(frames, m)
	}
	return frames, nil
}

func frameFor(word string, tty, text bool) (wire.Message, error) {
	if len(word) > wire.MaxData {
		return nil, misused("send", "one word may have %d bytes at most", wire.MaxData)
	}
	if text {
		return wire.Input{Data: []byte(word)}, nil
	}
	if sig, ok, err := parseSignal(word); ok || err != nil {
		return wire.Signal{Number: byte(sig)}, err
	}
	k, ok := wire.ParseKey(word)
	switch {
	case !ok:
		return wire.Input{Data: []byte(word)}, nil
	case tty:
		return k, nil
	}
	typed := string(k.Encode(screen.Keyboard{}))
	if sig, ok := keySignals[typed]; ok {
		return wire.Signal{Number: byte(sig)}, nil
	}
	switch typed {
	case "\x04":
		return wire.EOF{}, nil
	case "\r":
		typed = "\n" // a terminal would translate it
	}
	return wire.Input{Data: []byte(typed)}, nil
}

// mustRun is Settled for commands that need a living session.
func (c *cli) mustRun(name keyway.Name) (session.Info, error) {
	i, err := c.Settled(name)
	if err == nil && !i.Alive() {
		err = keyway.Errorf(keyway.NotRunning, "%s does not run (%s)", c.Show(name), describe(i))
	}
	return i, err
}

const killUsage = `Usage: keyway kill [--grace TIME] NAME…

Ends sessions: their jobs get SIGTERM, and so do the processes that a job has started,
when it has ended. Processes that are left after the grace period are killed. Returns
when all have ended. Logs and exit codes stay. A second kill with a shorter grace
shortens the time. Of a session that has ended it ends what that has left running.

  --grace TIME  time to end by themselves, as in 30 or 2m (default 10s); 0: none at all

Example:
  keyway kill exp7

Exit code: 0; 2 wrong usage; 30 no such session; 31 it does not run.
`

func killCommand() command {
	return command{
		name: "kill", summary: "end sessions with all their processes", usage: killUsage, run: (*cli).kill,
		CommandLine: option.CommandLine{Options: []option.Option{{Name: "grace", Value: true}}},
	}
}

func (c *cli) kill(g option.Given) (int, error) {
	grace := keyway.KillGrace
	if s, ok := g.Values["grace"]; ok {
		var err error
		if grace, err = keyway.ParseGrace(s); err != nil {
			return 0, err
		}
	}
	return c.each("kill", g.Words, func(name keyway.Name) error { return c.killOne(name, grace) })
}

// each applies do to several sessions. The first error decides the exit code.
func (c *cli) each(cmd string, args []string, do func(keyway.Name) error) (int, error) {
	if len(args) == 0 {
		return 0, misused(cmd, "which session?")
	}
	code := 0
	for _, a := range args {
		name, err := c.Parse(a)
		if err == nil {
			err = do(name)
		}
		if err != nil {
			if failed := c.complain(err); code == 0 {
				code = failed
			}
		}
	}
	return code, nil
}

func (c *cli) killOne(name keyway.Name, grace time.Duration) error {
	i, err := c.Load(name)
	if err != nil {
		return err
	}
	if i.Status == session.Lost && i.KillOrphans() {
		fmt.Fprintf(c.Err, "[what was left of %s was killed]\n", c.Show(name))
		return nil
	}
	if i.Status == session.Ended && i.EndLeft(grace) {
		fmt.Fprintf(c.Err, "[what %s had left running has ended]\n", c.Show(name))
		return nil
	}
	if i, err = c.mustRun(name); err != nil {
		return err
	}
	if err := askEnd(i, grace); err != nil {
		return err
	}
	if i, err = c.awaitEnd(name); err != nil {
		return err
	}
	fmt.Fprintf(c.Err, "[%s ended: %s]\n", c.Show(name), describe(i))
	return nil
}

// askEnd asks the holder to end its job. The holder does so even if no command waits.
func askEnd(i session.Info, grace time.Duration) error {
	conn, err := wire.Connect(i.Path, wire.Hello{Flags: wire.FlagInput})
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Write(wire.End{GraceMillis: uint32(grace.Milliseconds())})
}

const rmUsage = `Usage: keyway rm NAME…
       keyway rm --ended

Removes ended sessions from the record, with their logs.

  --ended  all that have ended

Examples:
  keyway rm exp7
  keyway rm --ended

Exit code: 0; 2 wrong usage; 24 it still runs; 30 no such session.
`

func rmCommand() command {
	return command{
		name: "rm", summary: "remove ended sessions and their logs", usage: rmUsage, run: (*cli).rm,
		CommandLine: option.CommandLine{Options: []option.Option{{Name: "ended"}}},
	}
}

func (c *cli) rm(g option.Given) (int, error) {
	if g.Has("ended") {
		if len(g.Words) > 0 {
			return 0, misused("rm", "either names or --ended")
		}
		return 0, c.removeEnded()
	}
	return c.each("rm", g.Words, c.Remove)
}

func (c *cli) removeEnded() error {
	list, err := c.List()
	var failed []error
	for _, i := range list {
		if !i.Alive() {
			failed = append(failed, os.RemoveAll(i.Path))
		}
	}
	return errors.Join(append(failed, err)...)
}
