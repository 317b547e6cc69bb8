package laptop

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"time"

	"keyway/internal/keyway"
)

const (
	// MaxJobList bounds the bytes of a workspace's list of jobs.
	MaxJobList = 8 << 20
	// jobListTimeout bounds the time in which a workspace lists its jobs.
	jobListTimeout = 30 * time.Second
)

// Job has the fields that keyway uses of a workspace's list of jobs.
type Job struct {
	Name, State string
	Command     []string
}

// Alive reports whether the job has not ended.
func (j Job) Alive() bool { return j.State == "running" || j.State == "starting" }

// ListJobs asks a workspace for its jobs. The list comes from the workspace: it may have any
// length, never end, or have invalid names.
func (here *Laptop) ListJobs(ctx context.Context, name string) ([]Job, error) {
	entry, err := here.Lookup(name)
	if err != nil {
		return nil, err
	}
	list, err := here.answerWithin(ctx, entry, jobListTimeout, MaxJobList, func(ctx context.Context) (*exec.Cmd, error) {
		return here.InsideCommand(ctx, entry.Name, outspoken, "ls", "--json")
	})
	if err != nil {
		return nil, err
	}
	return ReadJobs(list)
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
