package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"keyway/internal/bounded"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/plain"
	"keyway/internal/table"
)

// kernelPatience bounds how long the kernels' list may take after that of the jobs.
const kernelPatience = 10 * time.Second

// kernelsOf asks a workspace for its Jupyter kernels in the background. After an error it sends
// an empty list.
func kernelsOf(ctx context.Context, name string) <-chan []laptop.Kernel {
	all := make(chan []laptop.Kernel, 1)
	go func() { // ends with ctx at the latest
		a, entry, err := appFor(name)
		if err != nil {
			all <- nil
			return
		}
		kernels, _ := a.Kernels(ctx, entry)
		all <- kernels
	}()
	return all
}

// listJobs lists a workspace's jobs and kernels.
func listJobs(ctx context.Context, name string, words []string, columns int, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kernels := kernelsOf(ctx, name)
	if err := (inside{}).run(ctx, name, words...); err != nil {
		return err
	}
	_, err := io.WriteString(out, kernelTable(inTime(kernels), columns))
	return err
}

// inTime returns the kernels if they arrive within kernelPatience, and otherwise none.
func inTime(kernels <-chan []laptop.Kernel) []laptop.Kernel {
	late := time.NewTimer(kernelPatience)
	defer late.Stop()
	select {
	case all := <-kernels:
		return all
	case <-late.C:
		return nil
	}
}

// listJobsJSON is listJobs for programs. It puts the kernels into the record of the job that
// serves them.
func listJobsJSON(ctx context.Context, name string, words []string, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kernels := kernelsOf(ctx, name)
	list := bounded.Buffer{Max: laptop.MaxJobList}
	if err := (inside{out: &list}).run(ctx, name, words...); err != nil {
		return err
	}
	if list.Over {
		return keyway.Errorf(keyway.Untrusted, "%s: the list of its jobs is longer than %d bytes", name, laptop.MaxJobList)
	}
	_, err := out.Write(withKernels(list.Bytes(), inTime(kernels)))
	if err != nil {
		return notWritten(err)
	}
	return nil
}

// withKernels adds the kernels to the record of the job that serves them. It returns a list that
// it cannot parse unchanged.
func withKernels(list []byte, kernels []laptop.Kernel) []byte {
	var jobs []json.RawMessage
	if len(kernels) == 0 || json.Unmarshal(list, &jobs) != nil {
		return list
	}
	at := -1
	for i, job := range jobs {
		var j laptop.Job
		if json.Unmarshal(job, &j) == nil && j.Alive() && (j.Name == string(keeperSession) || at < 0 && j.Name == string(jupyterSession)) {
			at = i
		}
	}
	if at < 0 {
		return list
	}
	job := bytes.TrimSuffix(bytes.TrimSpace(jobs[at]), []byte("}"))
	added, err := json.Marshal(kernels)
	if err != nil {
		return list
	}
	jobs[at] = fmt.Appendf(nil, `%s,"kernels":%s}`, job, added)
	text, err := json.MarshalIndent(jobs, "", "  ")
	if err != nil {
		return list
	}
	return append(plain.Escape(text), '\n')
}

// kernelTable returns a table with the state of each kernel.
func kernelTable(all []laptop.Kernel, columns int) string {
	if len(all) == 0 {
		return ""
	}
	rows := [][]string{{"KERNEL", "STATE", "PAGES", "NOTEBOOK"}}
	for _, k := range all {
		rows = append(rows, []string{
			plain.Line(k.ID[:min(len(k.ID), 8)]), plain.Line(kernelState(k)), fmt.Sprint(k.Clients), plain.Line(cmp.Or(k.Notebook, "-")),
		})
	}
	t := table.Table{Window: columns, Yield: []int{3}}
	return "\n" + t.Rows(rows)
}

// kernelState returns the state of a kernel in a few words.
func kernelState(k laptop.Kernel) string {
	switch {
	case k.Queued == 1:
		return "busy, 1 cell waits"
	case k.Queued > 1:
		return fmt.Sprintf("busy, %d cells wait", k.Queued)
	case k.Running > 0:
		return "busy"
	}
	return cmp.Or(k.State, "unknown")
}

// busyKernels returns the names of the kernels in which a cell runs.
func (a *app) busyKernels(ctx context.Context, arg string) (names []string, err error) {
	entry, err := a.Lookup(arg)
	if err != nil {
		return nil, err
	}
	all, err := a.Kernels(ctx, entry)
	if err != nil {
		return nil, err
	}
	for _, k := range all {
		if k.Busy() {
			names = append(names, plain.Line("a cell of "+k.Name()))
		}
	}
	return names, nil
}
