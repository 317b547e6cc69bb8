package main

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

// jobsDir is where the jobs are on record whose ends the link tells of.
func (a *app) jobsDir() string { return filepath.Join(a.state, "jobs") }

// configFile is where the user's config.yaml is, or would be.
func configFile() (string, error) {
	dir, err := dirs.Config()
	return filepath.Join(dir, "config.yaml"), err
}

// readConfig reads it.
func readConfig() (watch.Config, error) {
	path, err := configFile()
	if err != nil {
		return watch.Config{}, err
	}
	return watch.ReadConfig(path)
}

// tellOfJobs waits for jobs, as a part of the link, until ctx ends.
func tellOfJobs(ctx context.Context, log *slog.Logger) {
	a, err := newApp()
	config, configErr := configFile()
	if err = errors.Join(err, configErr); err != nil {
		log.Warn("nobody will be told of the ends of jobs", "error", err)
		return
	}
	watch.Run(ctx, a.jobsDir(), a.awaitJob, watch.Teller(ctx, config, log), log)
}

// awaitJob waits for a job over the user's ssh, which must not ask anything: nobody
// may be there.
func (a *app) awaitJob(ctx context.Context, j watch.Job) (watch.End, error) {
	if _, err := a.lookup(string(j.Workspace)); keyway.Is(err, keyway.NotFound) {
		return watch.End{}, watch.ErrGone
	}
	path, err := a.findSSH()
	if err != nil {
		return watch.End{}, err
	}
	command, argv := remoteCommand([]string{"wait", "--json", string(j.Session)})
	cmd := exec.CommandContext(ctx, path, "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "SendEnv="+keyway.EnvArgv+"*", string(j.Workspace), command)
	cmd.Env = append(a.environ(), argv...)
	out, err := cmd.Output()
	if end, ok := parseEnd(out); ok {
		return end, nil
	}
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == code(keyway.NotFound) {
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
