package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"keyway/internal/laptop"
	"keyway/internal/plain"
	"keyway/internal/table"
)

// kernelPatience is how long a workspace may take to list its kernels after its jobs.
const kernelPatience = 10 * time.Second

// kernelsOf begins to ask a workspace for its Jupyter kernels. What cannot be found out
// is none.
func kernelsOf(ctx context.Context, name string) <-chan []laptop.Kernel {
	all := make(chan []laptop.Kernel, 1)
	go func() { // ends with ctx, at the latest
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

// listJobs lists the jobs of a workspace, and its kernels.
func listJobs(ctx context.Context, name string, words []string, columns int, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kernels := kernelsOf(ctx, name)
	if err := (inside{}).run(ctx, name, words...); err != nil {
		return err
	}
	late := time.NewTimer(kernelPatience)
	defer late.Stop()
	select {
	case all := <-kernels:
		_, err := io.WriteString(out, kernelTable(all, columns))
		return err
	case <-late.C:
		return nil
	}
}

// kernelTable shows what each kernel does.
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

// kernelState is what a kernel does, in a few words.
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

// busyKernels names the kernels in which a cell runs.
func (a *app) busyKernels(ctx context.Context, arg string) (names []string) {
	entry, err := a.Lookup(arg)
	if err != nil {
		return nil
	}
	all, err := a.Kernels(ctx, entry)
	if err != nil {
		return nil
	}
	for _, k := range all {
		if k.Busy() {
			names = append(names, plain.Line("a cell of "+k.Name()))
		}
	}
	return names
}
