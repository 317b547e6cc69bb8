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

	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/watch"
)

// JobsDir is where the jobs are on record whose ends the link tells of.
func (here *Laptop) JobsDir() string { return filepath.Join(here.state, "jobs") }

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
		log.Warn("nobody will be told of the ends of jobs", "error", err)
		return
	}
	watch.Run(ctx, here.JobsDir(), here.awaitJob, watch.Teller(ctx, settings, log), log)
}

// maxEnd bounds, in bytes, what a workspace may print of a job's end.
const maxEnd = 64 << 10

// awaitJob waits for a job over the user's ssh, which must not ask anything: nobody
// may be there.
func (here *Laptop) awaitJob(ctx context.Context, j watch.Job) (watch.End, error) {
	if _, err := here.Lookup(string(j.Workspace)); keyway.Is(err, keyway.NotFound) {
		return watch.End{}, watch.ErrGone
	}
	path, err := here.FindSSH()
	if err != nil {
		return watch.End{}, err
	}
	command, argv := remoteCommand([]string{"wait", "--json", string(j.Session)})
	cmd := exec.CommandContext(ctx, path, "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "SendEnv="+keyway.EnvArgv+"*", string(j.Workspace), command)
	cmd.Env = append(here.Environ(), argv...)
	out, err := OutputOf(cmd, maxEnd)
	if end, ok := parseEnd(out); ok {
		return end, nil
	}
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == keyway.ExitCode(keyway.Errorf(keyway.NotFound, "")) {
		return watch.End{}, watch.ErrGone
	}
	return watch.End{}, fmt.Errorf("ssh: %w", err)
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
