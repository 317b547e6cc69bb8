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

// interrupted is the exit code of runChild after Ctrl-C.
const interrupted = exitStatus(130)

// brokenPipe is its exit code when the job's output has lost its reader, or when SIGPIPE has ended
// the job.
const brokenPipe = exitStatus(141)

// handOn bounds the time until a signal that has ended a child process also cancels ctx.
const handOn = 100 * time.Millisecond

// wasInterrupted reports whether ctx has ended, or ends now because of the signal that has just
// ended a child process: Ctrl-C reaches both at once.
func wasInterrupted(ctx context.Context) bool {
	return sleep.For(ctx, handOn) != nil
}

// afterInterrupt asks the user after Ctrl-C what to do with a job that has no terminal on which it
// could ask. The ssh that showed its output has already ended.
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

// stopping returns the command that stops a job, if the job's name is known.
func stopping(name, as string) string {
	if as == "" {
		return ""
	}
	return fmt.Sprintf("; stop it: keyway kill %s/%s", name, as)
}

// jobOf returns the name of the job that run has started. That is as, if the user gave a name;
// otherwise the workspace has named the job, and jobOf finds it by its command.
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

// runningWith returns the names of the running jobs with the command.
func runningWith(jobs []laptop.Job, command []string) []string {
	var running []string
	for _, j := range jobs {
		if j.State == "running" && recordOf(j.Command, command) {
			running = append(running, j.Name)
		}
	}
	return running
}

// recordOf reports whether record is how a list of jobs shows command. The list is JSON, which
// has no bytes outside UTF-8, and it holds only the first words of a long command, followed by an
// ellipsis.
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
