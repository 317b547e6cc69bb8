package laptop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"

	"keyway/internal/bounded"
	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/watch"
)

// JobsDir returns the directory with the records of jobs whose ends the link reports.
func (here *Laptop) JobsDir() string { return filepath.Join(here.state, "jobs") }

// Drop forgets a workspace: its entry, its host key, and its watched jobs.
func (here *Laptop) Drop(place keyway.Place, name keyway.Name) error {
	e, unknown := here.Lookup(string(name))
	err := here.Hosts.Remove(place, name)
	if unknown == nil && e.Place == place { // else the name is another's
		err = errors.Join(err, watch.Forget(here.JobsDir(), name))
	}
	return err
}

// ReadConfig reads config.yaml.
func ReadConfig() (watch.Config, error) {
	path, err := dirs.Settings()
	if err != nil {
		return watch.Config{}, err
	}
	return watch.ReadConfig(path)
}

// TellOfJobs waits for jobs, as a part of the link, until ctx ends.
func TellOfJobs(ctx context.Context, log *slog.Logger) {
	here, err := New(nil)
	settings, settingsErr := dirs.Settings()
	if err = errors.Join(err, settingsErr); err != nil {
		log.Warn("the ends of jobs will not be reported", "error", err)
		return
	}
	watch.Run(ctx, here.JobsDir(), here.await, watch.Teller(ctx, settings, log), log)
}

// maxEnd bounds the bytes of a workspace's output about a job's end.
const maxEnd = 64 << 10

// await waits for a job, or for the next cells of a workspace's notebooks.
func (here *Laptop) await(ctx context.Context, j watch.Job) (watch.Report, error) {
	if _, err := here.Lookup(string(j.Workspace)); keyway.Is(err, keyway.NotFound) {
		return watch.Report{}, watch.ErrGone
	}
	if j.Cells {
		return here.awaitCells(ctx, j)
	}
	return here.awaitJob(ctx, j)
}

func (here *Laptop) awaitJob(ctx context.Context, j watch.Job) (watch.Report, error) {
	out, code, err := outcome(here.InsideCommand(ctx, j.Workspace, unattended, "wait", "--json", string(j.Session)))
	if end, ok := parseEnd(out); ok {
		return watch.Report{Ends: []watch.Ended{{Job: j, End: end}}}, nil
	}
	if code == keyway.ExitCode(keyway.Errorf(keyway.NotFound, "")) {
		return watch.Report{}, watch.ErrGone
	}
	return watch.Report{}, err
}

// unattended are the options of an ssh that must not ask, because no user may be there.
var unattended = []string{"-o", "BatchMode=yes"}

// outcome runs a command for its output and exit code. The error is nil only if the command has succeeded.
func outcome(cmd *exec.Cmd, err error) (out []byte, code int, _ error) {
	if err != nil {
		return nil, -1, err
	}
	if out, err = bounded.Output(cmd, maxEnd); err != nil {
		err = fmt.Errorf("ssh: %w", err)
	}
	if cmd.ProcessState == nil {
		return out, -1, err
	}
	return out, cmd.ProcessState.ExitCode(), err
}

// parseEnd reads what keyway wait --json prints.
func parseEnd(out []byte) (watch.End, bool) {
	var session struct {
		Exit   *watch.End
		Reason string
	}
	if len(bytes.TrimSpace(out)) == 0 || json.Unmarshal(out, &session) != nil {
		return watch.End{}, false
	}
	if session.Exit == nil {
		return watch.End{Code: -1, Reason: session.Reason}, session.Reason != ""
	}
	return *session.Exit, true
}
