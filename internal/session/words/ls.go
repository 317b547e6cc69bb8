//go:build linux

package words

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/session"
	"keyway/internal/session/lines"
	"keyway/internal/session/option"
	"keyway/internal/session/view"
	"keyway/internal/session/wire"
	"keyway/internal/table"
)

const waitUsage = `Usage: keyway wait [--json] [NAME]

Waits until a session ends. Without NAME: the session that runs, or the one that
ended last.

      --json  print how it ended, as keyway ls --json does

Example:
  keyway run -d --as exp7 -- python train.py; keyway wait exp7 && keyway logs exp7

Exit code: the job's own; 128 + n if signal n ended it; 2 wrong usage; 30 no such
session; 31 it runs no more and left no exit code.
`

func waitCommand() command {
	return command{name: "wait", summary: "wait until a job ends; exits with its exit code", usage: waitUsage, run: (*cli).wait,
		CommandLine: option.CommandLine{Options: []option.Option{{Name: "json"}}}}
}

// brokenSSH is the exit code of an ssh whose connection broke. A mark at another position tells the
// laptop that it is the job's own.
const brokenSSH = 255

func (c *cli) wait(g option.Given) (int, error) {
	r := asksToResume()
	i, err := c.chosen("wait", g.Words, &r)
	if err != nil {
		return 0, err
	}
	began := position{1, uint64(i.Started.UnixNano())}
	_ = r.mark(c.Out, began)
	i, err = c.awaitEnd(i.Name)
	if err == nil && g.Has("json") {
		err = plain.JSON(c.Out, i)
	}
	if err != nil {
		return 0, err
	}
	if i.Exit == nil {
		return 0, c.LostError(i)
	}
	c.TellLeft(i)
	if i.Exit.Code == brokenSSH {
		began[inLog] = 1
		_ = r.mark(c.Out, began)
	}
	return i.Exit.Code, nil
}

// awaitEnd returns when the session does not run any more.
func (c *cli) awaitEnd(name keyway.Name) (session.Info, error) {
	i, err := c.Settled(name)
	if err != nil || !i.Alive() {
		return i, err
	}
	_, _, err = wire.PumpAll(i.Path, wire.Hello{}, wire.Discard{})
	if err != nil && !wire.Gone(err) {
		return i, err
	}
	if i, err = c.Abandoned(name); err == nil && i.Alive() {
		err = keyway.Errorf(keyway.NotRunning, "%s closed the connection", c.Show(name))
	}
	return i, err
}

const lsUsage = `Usage: keyway ls [-a] [--json]

Lists sessions: those that run, and the ten that ended last. STATE is the exit code
or signal of one that ended, and says so if the kernel killed it for lack of memory,
if it was told to end, or if its holder or the workspace ended before it.

  -a, --all   all that are on record
      --json  as a JSON array, for programs
      --columns N  fit the table into so many columns, by shortening commands and last
              lines first; else the terminal's, and in a pipe all is shown

Examples:
  keyway ls
  keyway ls -a --json

Exit code: 0; 2 wrong usage.
`

func lsCommand() command {
	return command{
		name: "ls", summary: "list sessions, running and ended", usage: lsUsage, run: (*cli).ls,
		CommandLine: option.CommandLine{Options: []option.Option{{Name: "all", Letter: 'a'}, {Name: "json"}, {Name: "columns", Value: true}}},
	}
}

// recent is the number of ended sessions that ls shows.
const recent = 10

func (c *cli) ls(g option.Given) (int, error) {
	if len(c.Jobs(g.Words)) > 0 {
		return 0, misused("ls", "it takes no names")
	}
	columns, err := c.columns(g)
	if err != nil {
		return 0, err
	}
	list, err := c.List()
	if err != nil {
		return 0, err
	}
	shown, hidden := list, 0
	if !g.Has("all") {
		shown, hidden = latest(list, recent)
	}
	for i := range shown {
		shown[i].Last = lines.Last(shown[i].Path)
	}
	if g.Has("json") {
		return 0, writeJSON(c.Out, shown)
	}
	if len(shown) == 0 {
		fmt.Fprintln(c.Err, "[no sessions; start one: "+c.Command("run")+" -- COMMAND]")
		return 0, nil
	}
	err = writeTable(c.Out, shown, time.Now(), columns)
	if hidden > 0 {
		fmt.Fprintf(c.Err, "[%d older ones: %s -a]\n", hidden, c.Command("ls"))
	}
	return 0, err
}

// columns returns the bound on the width of a table; 0 means none.
func (c *cli) columns(g option.Given) (int, error) {
	given, ok := g.Values["columns"]
	if !ok {
		if !view.OnTerminal(c.Out) {
			return 0, nil
		}
		return int((&view.Terminal{In: c.Out, Out: c.Out}).Size().Cols), nil
	}
	n, err := strconv.Atoi(given)
	if err != nil || n < 0 || n > wire.MaxWindow {
		return 0, misused("ls", "--columns takes a number up to %d, not %q", wire.MaxWindow, given)
	}
	return n, nil
}

// latest returns the living sessions and the n that ended last.
func latest(list []session.Info, n int) (shown []session.Info, hidden int) {
	dead := 0
	for _, i := range list {
		if !i.Alive() {
			dead++
		}
	}
	hidden = max(0, dead-n)
	skip := hidden
	for _, i := range list {
		if !i.Alive() && skip > 0 {
			skip--
			continue
		}
		shown = append(shown, i)
	}
	return shown, hidden
}

func writeJSON(w io.Writer, list []session.Info) error {
	if list == nil {
		list = []session.Info{}
	}
	text, err := json.MarshalIndent(list, "", "  ")
	if err == nil {
		_, err = w.Write(append(plain.Escape(text), '\n'))
	}
	return err
}

func writeTable(w io.Writer, list []session.Info, now time.Time, columns int) error {
	rows := [][]string{{"NAME", "STATE", "STARTED", "ENDED", "TOOK", "COMMAND", "LAST"}}
	for _, i := range list {
		ended := "-"
		if i.Exit != nil {
			ended = since(i.Exit.Ended, now)
		}
		rows = append(rows, []string{
			plain.Line(string(i.Name)), describe(i), since(i.Started, now), ended, took(i, now), plain.Line(strings.Join(i.Command, " ")), plain.Line(i.Last),
		})
	}
	// In a narrow window, the widest columns are cut, the state last: it has the exit code.
	text := (&table.Table{Window: columns, Yield: []int{2, 3, 4, 5, 6}}).Rows(rows)
	_, err := io.WriteString(w, text)
	return err
}
