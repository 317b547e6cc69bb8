package laptop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/watch"
)

// TellOfCells has the link report the ends of cells in a workspace's notebooks while no page is
// open. session is the one that keeps their output.
func (here *Laptop) TellOfCells(workspace, session keyway.Name) error {
	return watch.AddCells(here.JobsDir(), workspace, session)
}

// awaitNews has whichever keyway-jupyter runs wait for cells to end after the Nth, where
// N is the argument, or says which was the last. It prints "gone" where none runs.
const awaitNews = keeperRuns + keepers + ` [ -O "$f" ] && [ -x "$f" ] && "$f" news $1 2> /dev/null && exit 0; done; echo gone`

func (here *Laptop) awaitCells(ctx context.Context, j watch.Job) (watch.Report, error) {
	command := "sh -c " + shellQuote(awaitNews) + " sh"
	if j.Seen >= 0 {
		command += fmt.Sprint(" ", j.Seen)
	}
	out, _, err := outcome(here.SSHCommand(ctx, j.Workspace, unattended, command))
	if err != nil {
		return watch.Report{}, err
	}
	if string(bytes.TrimSpace(out)) == "gone" {
		return watch.Report{}, watch.ErrGone
	}
	return readCells(j, out)
}

// readCells reads and checks a workspace's report about cells that have ended.
func readCells(j watch.Job, out []byte) (watch.Report, error) {
	var said struct {
		Last int64 `json:"last"`
		News []struct {
			Notebook string  `json:"notebook"`
			Result   string  `json:"result"`
			Seconds  float64 `json:"seconds"`
		} `json:"news"`
	}
	if err := json.Unmarshal(out, &said); err != nil || said.Last < 0 {
		return watch.Report{}, errors.Join(errors.New("keyway-jupyter's report of its cells cannot be read"), err)
	}
	next := j
	next.Seen = said.Last
	r := watch.Report{Next: &next}
	for _, n := range said.News {
		end := watch.End{Cell: true}
		switch n.Result {
		case "finished":
		case "restarted":
			end.Code, end.Reason = -1, "its kernel was restarted or has died"
		default:
			end.Code = 1
		}
		cell := j
		cell.Command = cellWords(n.Notebook, n.Seconds)
		r.Ends = append(r.Ends, watch.Ended{Job: cell, End: end})
	}
	return r, nil
}

// maxCellName bounds the name of a notebook in news, in bytes.
const maxCellName = 200

func cellWords(notebook string, seconds float64) string {
	of := "a cell"
	if notebook != "" {
		name := notebookNames(notebook)
		of += " of " + name[:min(len(name), maxCellName)]
	}
	took := time.Duration(min(max(seconds, 0), 1e9) * float64(time.Second)).Round(time.Second)
	return fmt.Sprintf("%s, after %v", of, took)
}
