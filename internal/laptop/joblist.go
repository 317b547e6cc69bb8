package laptop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"time"

	"keyway/internal/keyway"
)

const (
	// MaxJobList bounds, in bytes, what is read of a workspace's list of jobs.
	MaxJobList = 8 << 20
	// jobListTimeout is how long a workspace may take to list its jobs.
	jobListTimeout = 30 * time.Second
)

// Job is what keyway takes from a workspace's list of jobs.
type Job struct {
	Name, State string
	Command     []string
}

// Alive reports whether the job has not ended.
func (j Job) Alive() bool { return j.State == "running" || j.State == "starting" }

// ListJobs asks a workspace for its jobs. The list is what the workspace says: of any
// length, never complete, or with names that no job has.
func (here *Laptop) ListJobs(ctx context.Context, name string) ([]Job, error) {
	entry, err := here.Lookup(name)
	if err != nil {
		return nil, err
	}
	path, err := here.FindSSH()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, jobListTimeout)
	defer cancel()
	args, argv := InsideArgs(entry, "ls", "--json")
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(here.Environ(), argv...)
	list, err := OutputOf(cmd, MaxJobList)
	if err != nil {
		return nil, err
	}
	return ReadJobs(list)
}

// OutputOf runs a command and returns what it prints; one that prints more bytes than
// most is killed.
func OutputOf(cmd *exec.Cmd, most int) ([]byte, error) {
	cmd.WaitDelay = time.Second
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(pipe, int64(most)+1))
	if len(out) > most {
		_ = cmd.Process.Kill()
		err = fmt.Errorf("it is longer than %d bytes", most)
	}
	if ended := cmd.Wait(); err == nil {
		err = ended
	}
	return out[:min(len(out), most)], err
}

// ReadJobs reads keyway ls --json. Jobs by names that no job has are left out: names
// become words of commands.
func ReadJobs(list []byte) ([]Job, error) {
	var jobs []Job
	if err := json.NewDecoder(bytes.NewReader(list)).Decode(&jobs); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(jobs, func(j Job) bool {
		_, err := keyway.ParseName(j.Name)
		return err != nil
	}), nil
}
