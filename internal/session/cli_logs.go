//go:build linux

package session

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
)

const logsUsage = `Usage: keyway logs [-f] [--since TIME] [--raw] [NAME]

Prints what a job has printed since it began, stdout to stdout and stderr to
stderr. Of a progress bar only its last state comes; while it runs, and with -f on
a terminal, the state it has now. The last 256 MiB of a log are kept. Without NAME:
the session that runs, or the one that ended last.

  -f, --follow      go on until the job ends
      --since TIME  only what came since then: 30s, 45m, 12h or 2d ago, 14:30 today,
                    2026-01-31, or 2026-01-31T14:30:00Z
      --raw         all bytes as they were printed

Examples:
  keyway logs exp7
  keyway logs -f --since 1h exp7 2>/dev/null
  keyway logs --raw exp7 >model.bin

Exit code: 0; 1 if bytes were skipped that a pipe or file should have got, as when
it is read more slowly than the job prints; 2 wrong usage; 30 no such session; 130
after Ctrl-C.
`

func logsCommand() command {
	return command{
		name: "logs", summary: "print what a job has printed", usage: logsUsage, run: (*cli).logs,
		commandLine: commandLine{options: []option{{name: "follow", letter: 'f'}, {name: "since", value: true}, {name: "raw"}}},
	}
}

func (c *cli) logs(g given) (int, error) {
	name, err := c.oneName("logs", g.words)
	if err != nil {
		return 0, err
	}
	i, err := c.settled(name)
	if err != nil {
		return 0, err
	}
	follow := g.has("follow")
	to := c.logSink(g.has("raw"), follow)
	at, err := i.begins()
	if err != nil {
		return 0, err
	}
	if when, ok := g.values["since"]; ok {
		if at, err = i.since(when, time.Now()); err != nil {
			return 0, err
		}
	} else if at > 0 {
		fmt.Fprintf(c.err, "[the log has the last of it; the first %d bytes are gone]\n", at)
	}
	var interrupted chan os.Signal
	if follow {
		interrupted = make(chan os.Signal, 1)
		signal.Notify(interrupted, unix.SIGINT)
	}
	printed := make(chan error, 1)
	go func() { // which the end of the process ends; see CLI
		err := i.copyOutput(to, at, follow)
		if closeErr := to.close(); err == nil {
			err = closeErr
		}
		printed <- err
	}()
	select {
	case err := <-printed:
		if skipped := to.tty.skipped; err == nil && skipped > 0 && !to.tty.display {
			err = c.incomplete(name, skipped)
		}
		return c.piped(err)
	case <-interrupted:
		// An exit code, since ssh takes death by a signal for a broken connection.
		// The bar that is shown stays.
		if to.tty.display {
			fmt.Fprintln(c.out)
		}
		return 128 + int(unix.SIGINT), nil
	}
}

// begins is the offset of the first byte that the log still has.
func (i info) begins() (uint64, error) {
	r, closeLog, err := openLog(i.dir)
	if err != nil {
		return 0, err
	}
	defer closeLog()
	return r.base(), nil
}

// copyOutput passes on what a session has printed from an offset on, until there
// is no more or, if follow says so, until it ends.
func (i info) copyOutput(to sink, at uint64, follow bool) error {
	if !follow || !i.alive() {
		_, err := copyLog(i.dir, at, to)
		return err
	}
	_, at, err := pumpAll(i.dir, hello{Flags: flagOutput, From: at}, to)
	if err == nil || !isGone(err) {
		return err
	}
	// It ended, or its holder did: the rest is on disk.
	_, err = copyLog(i.dir, at, to)
	return err
}

func isGone(err error) bool {
	return errors.Is(err, errGone) || keyway.Is(err, keyway.NotRunning)
}

// since is the offset in the log of what was printed since a time.
func (i info) since(when string, now time.Time) (uint64, error) {
	t, ok := parseSince(when, now)
	if !ok {
		return 0, misused("logs", "--since: %q is no time", when)
	}
	r, closeLog, err := openLog(i.dir)
	if err != nil {
		return 0, err
	}
	defer closeLog()
	return r.since(t), nil
}

// parseSince reads a time of day, a date, both, or how long ago.
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

// piped is the result of printing a log: a reader that has seen enough, as head
// has, is no error.
func (c *cli) piped(err error) (int, error) {
	var own sinkError
	if errors.As(err, &own) && errors.Is(err, unix.EPIPE) {
		return 128 + int(unix.SIGPIPE), nil
	}
	return 0, err
}

// logSink prints a log.
type logSink struct {
	tty     *tty
	streams [3]collapser // by stream; unused if raw
	raw     bool
	// preview is whether the line that has not ended is shown as well, as long as
	// it is the last; previewed whether one is.
	preview, previewed bool
}

func (c *cli) logSink(raw, follow bool) *logSink {
	l := &logSink{tty: c.tty(raw), raw: raw}
	l.preview = !raw && follow && l.tty.display
	for s := range l.streams {
		l.streams[s].emit = func(p []byte) error {
			return l.tty.write(stream(s), p)
		}
	}
	return l
}

var _ sink = (*logSink)(nil)

func (l *logSink) put(s stream, p []byte) error {
	if l.raw {
		return l.tty.put(s, p)
	}
	l.erase()
	if err := l.streams[s].write(p); err != nil || !l.preview {
		return err
	}
	line := []rune(l.streams[s].current())
	l.previewed = len(line) > 0
	_, err := l.tty.out.WriteString(string(line[:min(len(line), max(1, int(l.tty.size().cols)-1))]))
	return err
}

func (l *logSink) erase() {
	if l.previewed {
		fmt.Fprint(l.tty.out, "\r\x1b[K")
	}
	l.previewed = false
}

func (l *logSink) picture([]byte) error { return nil } // it asks for none

func (l *logSink) gap(n uint64) error {
	l.erase()
	return l.tty.gap(n)
}

func (l *logSink) close() error {
	l.erase()
	var err error
	for s := range l.streams {
		err = errors.Join(err, l.streams[s].close())
	}
	l.tty.restore()
	if err != nil {
		err = sinkError{err}
	}
	return err
}
