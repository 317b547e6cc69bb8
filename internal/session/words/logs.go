//go:build linux

package words

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/session"
	"keyway/internal/session/joblog"
	"keyway/internal/session/lines"
	"keyway/internal/session/option"
	"keyway/internal/session/wire"
)

const logsUsage = `Usage: keyway logs [-f] [--tail N] [--since TIME] [--raw] [NAME]

Prints what a job has printed since it began, stdout to stdout and stderr to
stderr. Each line is printed once, as a terminal of the job's size shows it in the
end: of a progress bar, its last state. With -f, a line is printed when the cursor has
left it and the program has never moved up to it; on a terminal, lines that may still
change are shown below. The last 256 MiB of a log are kept. Without NAME: the session
that runs, or the one that ended last.

` + option.LogsHelp + `
Examples:
  keyway logs exp7
  keyway logs -f --tail 20 exp7
  keyway logs -f --since 1h exp7 2>/dev/null
  keyway logs --raw exp7 >model.bin

Exit code: 0; 1 if bytes were skipped that a pipe or file should have got, as when
it is read more slowly than the job prints; 2 wrong usage; 30 no such session; 130
after Ctrl-C.
`

func logsCommand() command {
	return command{
		name: "logs", summary: "print what a job has printed", usage: logsUsage, run: (*cli).logs,
		CommandLine: option.CommandLine{Options: option.Logs().Options},
	}
}

func (c *cli) logs(g option.Given) (int, error) {
	follow, raw := g.Has("follow"), g.Has("raw")
	to := c.logSink(raw, follow)
	to.resume = asksToResume()
	i, err := c.chosen("logs", g.Words, &to.resume)
	if err != nil {
		return 0, err
	}
	at, err := c.begins(i)
	if err == nil && to.again() {
		at, err = to.goesOn(i.Path)
		g.Values = nil
	}
	if err != nil {
		return 0, err
	}
	if when, ok := g.Values["since"]; ok {
		if at, err = printedSince(i.Path, when, time.Now()); err != nil {
			return 0, err
		}
	} else if at > 0 && !g.Has("tail") && !to.again() {
		fmt.Fprintf(c.Err, "[the log has the last of it; the first %d bytes are gone]\n", at)
	}
	if n, ok := g.Values["tail"]; ok {
		if at, to.drop, err = lastLines(i.Path, n, at, raw); err != nil {
			return 0, err
		}
	}
	if to.at = at; !to.again() {
		to.from[0][ofSession] = uint64(i.Started.UnixNano())
		to.wrote = true
		if err := to.mark(); err != nil {
			return c.piped(wire.SinkError{Err: err})
		}
	}
	var interrupted chan os.Signal
	if follow {
		interrupted = make(chan os.Signal, 1)
		signal.Notify(interrupted, unix.SIGINT)
	}
	printed := make(chan error, 1)
	go func() { // ends with the process; see CLI
		err := copyOutput(i, to, at, follow)
		if closeErr := to.close(); err == nil {
			err = closeErr
		}
		printed <- err
	}()
	select {
	case err := <-printed:
		if skipped := to.tty.Skipped; err == nil && skipped > 0 && !to.tty.Display {
			err = c.Incomplete(i.Name, skipped)
		}
		return c.piped(err)
	case <-interrupted:
		// An exit code, since ssh takes death by a signal for a broken connection. The bar on
		// the screen stays.
		if to.tty.Display {
			fmt.Fprintln(c.Out)
		}
		return 128 + int(unix.SIGINT), nil
	}
}

// begins returns the offset of the first byte that the log of a session still has.
func (c *cli) begins(i session.Info) (uint64, error) {
	r, closeLog, err := joblog.Open(i.Path)
	if err != nil {
		return 0, keyway.Errorf(keyway.Other, "the log of %s cannot be read: %w", c.Show(i.Name), err)
	}
	defer closeLog()
	if r.Missing() {
		return 0, keyway.Errorf(keyway.NotFound, "%s has no log: %s", c.Show(i.Name), describe(i)).
			Hint("see what there is: %s -a", c.Command("ls"))
	}
	return r.Base(), nil
}

// copyOutput passes a session's output on from an offset on, until there is no more or, if
// follow is set, until the session ends.
func copyOutput(i session.Info, to *logSink, at uint64, follow bool) error {
	live := follow && i.Alive()
	at, err := to.copyPast(i.Path, at, live)
	if err != nil || !live {
		return err
	}
	to.goesLive()
	_, at, err = wire.PumpAll(i.Path, wire.Hello{Flags: wire.FlagOutput, From: at}, to)
	if err == nil || !wire.Gone(err) {
		return err
	}
	// The session or its holder ended: the rest is on disk.
	_, err = joblog.Copy(i.Path, at, to)
	return err
}

// printedSince returns the offset in the log in dir of the first output since a time.
func printedSince(dir, when string, now time.Time) (uint64, error) {
	t, ok := parseSince(when, now)
	if !ok {
		return 0, misused("logs", "--since: %q is not a time", when)
	}
	r, closeLog, err := joblog.Open(dir)
	if err != nil {
		return 0, err
	}
	defer closeLog()
	return r.Since(t), nil
}

// parseSince reads a time of day, a date, both, or a duration before now.
func parseSince(s string, now time.Time) (time.Time, bool) {
	ago := s
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if d, err := time.ParseDuration(days + "h"); err == nil {
			ago = (24 * d).String()
		}
	}
	if d, err := time.ParseDuration(ago); err == nil && d >= 0 {
		return now.Add(-d), true
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, true
		}
	}
	t, err := time.ParseInLocation("15:04", s, now.Location())
	return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, now.Location()), err == nil
}

// piped returns the result of printing a log. A reader that closes the pipe early, as head
// does, is no error.
func (c *cli) piped(err error) (int, error) {
	var own wire.SinkError
	if errors.As(err, &own) && errors.Is(err, unix.EPIPE) {
		return 128 + int(unix.SIGPIPE), nil
	}
	return 0, err
}

// lastLines returns the offset at which to begin to read the log in dir, and the number of
// lines to drop from there, for the count of last lines.
func lastLines(dir, count string, from uint64, raw bool) (at uint64, drop int, err error) {
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 {
		return 0, 0, misused("logs", "--tail: %q is not a number of lines", count)
	}
	r, closeLog, err := joblog.Open(dir)
	if err != nil {
		return 0, 0, err
	}
	defer closeLog()
	return lines.Tail(r, n, from, raw)
}
