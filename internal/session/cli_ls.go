//go:build linux

package session

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/plain"
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
		commandLine: commandLine{options: []option{{name: "json"}}}}
}

func (c *cli) wait(g given) (int, error) {
	name, err := c.oneName("wait", g.words)
	if err != nil {
		return 0, err
	}
	i, err := c.awaitEnd(name)
	if err == nil && g.has("json") {
		err = plain.JSON(c.out, i)
	}
	if err != nil {
		return 0, err
	}
	if i.Exit == nil {
		return 0, c.lostError(i)
	}
	c.tellLeft(i)
	return i.Exit.Code, nil
}

// awaitEnd returns when the session runs no more.
func (c *cli) awaitEnd(name keyway.Name) (info, error) {
	i, err := c.settled(name)
	if err != nil || !i.alive() {
		return i, err
	}
	_, _, err = pumpAll(i.path, hello{}, discard{})
	if err != nil && !isGone(err) {
		return i, err
	}
	if i, err = c.abandoned(name); err == nil && i.alive() {
		err = keyway.Errorf(keyway.NotRunning, "%s closed the connection", c.show(name))
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
		commandLine: commandLine{options: []option{{name: "all", letter: 'a'}, {name: "json"}, {name: "columns", value: true}}},
	}
}

// recent is how many ended sessions ls shows.
const recent = 10

func (c *cli) ls(g given) (int, error) {
	if len(c.jobs(g.words)) > 0 {
		return 0, misused("ls", "it takes no names")
	}
	columns, err := c.columns(g)
	if err != nil {
		return 0, err
	}
	list, err := c.list()
	if err != nil {
		return 0, err
	}
	shown, hidden := list, 0
	if !g.has("all") {
		shown, hidden = latest(list, recent)
	}
	for i := range shown {
		shown[i].Last = lastLine(shown[i].path)
	}
	if g.has("json") {
		return 0, writeJSON(c.out, shown)
	}
	if len(shown) == 0 {
		fmt.Fprintln(c.err, "[no sessions; start one: "+c.command("run")+" -- COMMAND]")
		return 0, nil
	}
	err = writeTable(c.out, shown, time.Now(), columns)
	if hidden > 0 {
		fmt.Fprintf(c.err, "[%d older ones: %s -a]\n", hidden, c.command("ls"))
	}
	return 0, err
}

// columns is how wide a table may be; 0: as wide as it is.
func (c *cli) columns(g given) (int, error) {
	given, ok := g.values["columns"]
	if !ok {
		if !onTerminal(c.out) {
			return 0, nil
		}
		return int((&tty{in: c.out, out: c.out}).size().cols), nil
	}
	n, err := strconv.Atoi(given)
	if err != nil || n < 0 || n > maxWindow {
		return 0, misused("ls", "--columns takes a number up to %d, not %q", maxWindow, given)
	}
	return n, nil
}

// latest keeps the living and the n that ended last.
func latest(list []info, n int) (shown []info, hidden int) {
	dead := 0
	for _, i := range list {
		if !i.alive() {
			dead++
		}
	}
	hidden = max(0, dead-n)
	skip := hidden
	for _, i := range list {
		if !i.alive() && skip > 0 {
			skip--
			continue
		}
		shown = append(shown, i)
	}
	return shown, hidden
}

func writeJSON(w io.Writer, list []info) error {
	if list == nil {
		list = []info{}
	}
	text, err := json.MarshalIndent(list, "", "  ")
	if err == nil {
		_, err = w.Write(append(plain.Escape(text), '\n'))
	}
	return err
}

func writeTable(w io.Writer, list []info, now time.Time, columns int) error {
	rows := [][]string{{"NAME", "STATE", "STARTED", "ENDED", "TOOK", "COMMAND", "LAST LINE"}}
	for _, i := range list {
		ended := "-"
		if i.Exit != nil {
			ended = since(i.Exit.Ended, now)
		}
		rows = append(rows, []string{
			plain.Line(string(i.Name)), describe(i), since(i.Started, now), ended, took(i, now), plain.Line(strings.Join(i.Command, " ")), plain.Line(i.Last),
		})
	}
	// In a narrow window the command and the last line give way first.
	text := (&table.Table{Window: columns, Yield: []int{5, 6}}).Rows(rows)
	_, err := io.WriteString(w, text)
	return err
}
