package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/sleep"
)

// interrupted is the result of runChild on Ctrl-C.
const interrupted = exitStatus(130)

// brokenPipe is its result when nobody reads the output of a job, or when SIGPIPE ended the job
// itself.
const brokenPipe = exitStatus(141)

// handOn is the time in which a signal that has ended a child process reaches ctx.
const handOn = 100 * time.Millisecond

// wasInterrupted reports whether ctx has ended, or ends by the signal that has just ended
// a program of ours: Ctrl-C reaches both at once.
func wasInterrupted(ctx context.Context) bool {
	return sleep.For(ctx, handOn) != nil
}

// afterInterrupt asks the user what to do with a job after Ctrl-C, if the job has no terminal
// at which it could ask. The ssh that showed its output has ended by then.
func afterInterrupt(cmd *cobra.Command, name string, command []string) error {
	ctx, out := context.WithoutCancel(cmd.Context()), cmd.ErrOrStderr()
	as, _ := cmd.Flags().GetString("as")
	var answer byte
	if !isOn(cmd.Flags(), "detach") {
		answer = askKey("[Ctrl-C: s stops the job, k kills it, any other key leaves it running]")
	}
	var words []string
	switch answer {
	case 's', 'S':
		words = []string{"send", "--signal", "INT", "--"}
	case 'k', 'K':
		words = []string{"kill"}
	default:
		fmt.Fprintf(out, "[the job goes on; see it: keyway ls %s%s]\n", name, stopping(name, as))
		return nil
	}
	job, err := jobOf(ctx, name, as, command)
	if err != nil {
		return err
	}
	if err := (inside{}).run(ctx, name, append(words, job)...); err != nil {
		return err
	}
	if words[0] == "send" {
		fmt.Fprintf(out, "[%s/%s was sent SIGINT; see it: keyway logs %s/%s]\n", name, job, name, job)
	}
	return nil
}

// stopping returns the command that stops a job, if its name is known.
func stopping(name, as string) string {
	if as == "" {
		return ""
	}
	return fmt.Sprintf("; stop it: keyway kill %s/%s", name, as)
}

// jobOf returns the name of the job that run has started: as, if the user gave one. A job that
// the workspace has named is found by its command.
func jobOf(ctx context.Context, name, as string, command []string) (string, error) {
	if as != "" {
		return as, nil
	}
	var jobs []laptop.Job
	here, err := newApp()
	if err == nil {
		jobs, err = here.ListJobs(ctx, name)
	}
	if err != nil {
		return "", keyway.Errorf(keyway.Other, "the list of jobs in %s cannot be read: %w", name, err)
	}
	running := runningWith(jobs, command)
	switch len(running) {
	case 0:
		return "", keyway.Errorf(keyway.NotFound, "the job has ended, or had not begun").Hint("see what runs: keyway ls %s", name)
	case 1:
		return running[0], nil
	}
	return "", keyway.Errorf(keyway.Other, "%d jobs run this command in %s, and which of them is meant is not known", len(running), name).
		Hint("see them: keyway ls %s\nend one: keyway kill %s/%s", name, name, running[len(running)-1])
}

// runningWith names the jobs that run with the command.
func runningWith(jobs []laptop.Job, command []string) []string {
	var running []string
	for _, j := range jobs {
		if j.State == "running" && recordOf(j.Command, command) {
			running = append(running, j.Name)
		}
	}
	return running
}

// recordOf reports whether record is what a list of jobs has of command: JSON has no
// bytes that are not UTF-8, and of a long command only the first words are on record,
// before an ellipsis.
func recordOf(record, command []string) bool {
	var listed []string
	if text, err := json.Marshal(command); err != nil || json.Unmarshal(text, &listed) != nil {
		return false
	}
	if slices.Equal(record, listed) {
		return true
	}
	last := len(record) - 1
	return last >= 0 && last < len(listed) && record[last] == "…" && slices.Equal(record[:last], listed[:last])
}
