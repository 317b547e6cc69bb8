package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/plain"
	"keyway/internal/table"
)

type gpusOptions struct {
	on   []string
	json bool
}

func newGPUsCommand() *cobra.Command {
	var o gpusOptions
	cmd := &cobra.Command{
		Use:   "gpus [--on PLACE]",
		Short: "Show each GPU of a place: model, memory, load, holder, and the queue",
		Long: `Show the GPUs of every place where this laptop knows a workspace: the model, the memory
in use, the load, and the holder: a workspace of any user that asked for it with --gpus,
or a process outside of all workspaces. Below them is the queue for GPUs
(keyway up --gpus N --wait), the next one first.

Leases are an agreement between the users of keyway at a place. They do not stop a program
that uses a GPU without asking for it. A container that was started by other means (docker run
--gpus) counts as a holder as soon as a program in it uses the GPU.` + exitCodes(append(placeKinds, keyway.NoGPU)...),
		Example:           "  keyway gpus --on gpu1\n  keyway gpus --json",
		Args:              takes(0, 0, "no arguments"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runGPUs(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringArrayVar(&o.on, "on", nil, "ask only `PLACE`; may be repeated")
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
	cmd.RegisterFlagCompletionFunc("on", completePlaces)
	return cmd
}

func runGPUs(ctx context.Context, o gpusOptions, stdout, stderr io.Writer) error {
	a, err := newApp()
	if err != nil {
		return err
	}
	machines, err := a.Machines(ctx, o.on, false)
	if err == nil && len(machines) == 0 {
		machines, err = a.Machines(ctx, []string{string(keyway.Local)}, false)
	}
	if err != nil {
		return err
	}
	listings := make([]laptop.GPUListing, len(machines))
	var asked sync.WaitGroup
	for i, m := range machines {
		asked.Go(func() { listings[i] = a.GPUs(ctx, m) })
	}
	asked.Wait()
	a.ui.end()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var failed error
	for _, l := range listings {
		if l.Error != nil && failed == nil {
			failed = l.Error
		}
	}
	if o.json {
		for i := range listings {
			listings[i].Error = spelledOut(listings[i].Error)
		}
		if err := printJSON(stdout, listings); err != nil {
			return err
		}
		return failed
	}
	if _, err := io.WriteString(stdout, gpuText(listings, windowOf(stdout), time.Now())); err != nil {
		return err
	}
	if failed == nil {
		return nil
	}
	for _, l := range listings {
		if l.Error != nil {
			complain(stderr, l.Error)
		}
	}
	return exitStatus(keyway.ExitCode(failed)) // everything has been printed
}

// maxListed bounds the lines that are shown for one place, since a place may report any number of
// GPUs.
const maxListed = 512

// gpuText returns the table of GPUs. In a narrow window it shortens the models first, then the
// holders.
func gpuText(listings []laptop.GPUListing, window int, now time.Time) string {
	const model, holder = 2, 5
	var gpus, queue [][]string
	var none strings.Builder
	for _, l := range listings {
		if len(l.GPUs) == 0 && l.Error == nil {
			none.WriteString(plain.Sprintf("%s has no NVIDIA GPU\n", string(l.Place)))
		}
		for i, g := range l.GPUs {
			if i == maxListed {
				break
			}
			gpus = append(gpus, gpuCells(l.Place, g))
		}
		for i, w := range l.Queue {
			if i == maxListed {
				break
			}
			queue = append(queue, lineCells(string(l.Place), strconv.Itoa(i+1), string(w.Workspace), w.Owner, w.GPUs, age(now.Sub(w.Since))))
		}
	}
	var text string
	if len(gpus) > 0 {
		t := table.Table{Window: window, Yield: []int{model, holder}}
		text = t.Rows(append([][]string{{"PLACE", "GPU", "MODEL", "MEMORY", "LOAD", "HELD BY"}}, gpus...))
	}
	if len(queue) > 0 {
		t := table.Table{Window: window}
		text += "\n" + t.Rows(append([][]string{{"PLACE", "NEXT", "WAITS", "OWNER", "GPUS", "SINCE"}}, queue...))
	}
	return text + none.String()
}

func gpuCells(place keyway.Place, g keyway.GPU) []string {
	load, memory := "?", "?"
	if g.Load >= 0 {
		load = fmt.Sprintf("%d %%", g.Load)
	}
	if g.Memory >= 0 && g.Used >= 0 {
		memory = fmt.Sprintf("%.1f / %.1f GiB", gib(g.Used), gib(g.Memory))
	}
	return lineCells(string(place), g.Index, g.Model, memory, load, heldBy(g))
}

func gib(bytes int64) float64 { return float64(bytes) / (1 << 30) }

func lineCells(cells ...string) []string {
	for i, c := range cells {
		cells[i] = plain.Line(clip(c, maxCell))
	}
	return cells
}

// maxShownProcesses bounds the processes of a GPU that are named.
const maxShownProcesses = 3

// heldBy describes the holder of a GPU: a workspace, or processes outside every workspace.
func heldBy(g keyway.GPU) string {
	var said []string
	switch h := g.Holder; {
	case g.UUID == "":
		return "the driver cannot reach it"
	case h != nil && h.Starting:
		said = append(said, fmt.Sprintf("%s of %s (%s), starting", h.Workspace, h.Owner, h.Engine))
	case h != nil:
		said = append(said, fmt.Sprintf("%s of %s (%s)", h.Workspace, h.Owner, h.Engine))
	}
	foreign := 0
	for _, p := range g.Processes {
		if !p.Compute || g.Holder != nil && p.Workspace == g.Holder.Workspace {
			continue
		}
		if foreign++; foreign > maxShownProcesses {
			continue
		}
		said = append(said, processText(p))
	}
	if foreign > maxShownProcesses {
		said = append(said, fmt.Sprintf("and %d more processes", foreign-maxShownProcesses))
	}
	if len(said) == 0 {
		return "free"
	}
	return strings.Join(said, "; ")
}

func processText(p keyway.GPUProcess) string {
	if p.PID == 0 {
		return fmt.Sprintf("programs that the driver does not name (%.1f GiB)", gib(p.Memory))
	}
	command, owner := p.Command, p.Owner
	if command == "" {
		command = "a process"
	}
	if owner == "" {
		owner = "somebody"
	}
	if p.Memory >= 0 {
		return fmt.Sprintf("%s of %s (process %d, %.1f GiB)", command, owner, p.PID, gib(p.Memory))
	}
	return fmt.Sprintf("%s of %s (process %d)", command, owner, p.PID)
}
