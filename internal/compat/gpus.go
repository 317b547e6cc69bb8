package compat

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"keyway/internal/keyway"
)

// gpus checks whether the place has the requested GPUs, and whether others have them now.
func gpus(a Asked) []Finding {
	e, d := a.Facts.Engine, a.Facts.Driver
	switch {
	case a.Spec.GPUs.None() || e.Why != nil || e.RemoteDaemon != "": // or they are another machine's
		return nil
	case a.NoGPUs != nil && d.Module != "" && d.Library != "" && d.Module != d.Library: // which is why, and is found
		return nil
	case a.NoGPUs != nil:
		return saidOf(a.NoGPUs)
	case a.GPUs == nil:
		return nil
	case len(a.GPUs.GPUs) > 0:
		return a.lent(*a.GPUs)
	case e.Images && a.GPUs.Driver == "": // the engine may know of some without nvidia-smi
		return nil
	}
	return advised(fatal(keyway.NoGPU, "", "%s has no NVIDIA GPU, or no driver for it", a.Place), keyway.WithoutGPUs)
}

// lent returns what keeps the workspace from getting its share of all GPUs of the place.
func (a Asked) lent(report keyway.GPUReport) []Finding {
	all, wish := report.GPUs, a.Spec.GPUs
	wanted := reachable(all)
	count := wish.Count
	switch usable := strconv.Itoa(len(wanted)); {
	case len(wish.IDs) > 0:
		var lost string
		if wanted, lost = named(all, wish.IDs); lost != "" {
			return advised(fatal(keyway.NoGPU, "", "%s has no GPU %.128s that can be used", a.Place, lost), keyway.SeeGPUs)
		}
		count = len(wanted)
	case wish.All && len(wanted) < len(all):
		return advised(fatal(keyway.NoGPU, "see what is wrong, at the place: nvidia-smi -q", "the driver of %s cannot reach every GPU, and all are asked for", a.Place), keyway.FewerGPUs, usable)
	case wish.All:
		count = len(wanted)
	case count > len(wanted):
		return advised(fatal(keyway.NoGPU, "", "%s has %s GPUs that can be used, not %d", a.Place, usable, count), keyway.FewerGPUs, usable)
	}
	var taken []string
	var kept int // for those who came first
	first := reserved(report)
	for _, g := range wanted {
		if who := holder(g); who != "" {
			taken = append(taken, "GPU "+index(g)+" "+who)
		} else if first[g.UUID] {
			kept++
		}
	}
	why := string(a.Place) + " says: " + strings.Join(taken[:min(len(taken), maxTaken)], "; ")
	switch free := len(wanted) - len(taken); {
	case free-kept >= count:
		return nil
	case free >= count:
		why = fmt.Sprintf("others came first: %d in the queue", len(report.Queue))
	}
	return advised(warning(keyway.NoGPU, "", "the GPUs asked for (%s) are not free now; %s", wish, why), keyway.WaitForGPUs, wish.String())
}

// reachable returns the GPUs that the driver can reach.
func reachable(all []keyway.GPU) []keyway.GPU {
	return slices.DeleteFunc(slices.Clone(all), func(g keyway.GPU) bool { return g.UUID == "" })
}

// reserved returns the UUIDs of the GPUs that those in the queue could use. A request that the
// place cannot meet reserves none.
func reserved(report keyway.GPUReport) map[string]bool {
	usable := reachable(report.GPUs)
	all := map[string]bool{}
	for _, w := range report.Queue {
		wish, err := keyway.ParseGPUs(w.GPUs)
		if err != nil || wish.None() {
			wish, err = keyway.ParseGPUs("device=" + w.GPUs) // an index, of an older node
		}
		wanted := usable
		switch {
		case err != nil || wish.Count > len(usable) || wish.All && len(usable) < len(report.GPUs):
			continue
		case len(wish.IDs) > 0:
			wanted, _ = named(report.GPUs, wish.IDs)
		}
		for _, g := range wanted {
			all[g.UUID] = true
		}
	}
	return all
}

// maxTaken bounds how many GPUs a sentence names.
const maxTaken = 8

// named returns the GPUs of a list of UUIDs and indices, each once, and the first one that cannot
// be used.
func named(all []keyway.GPU, ids []string) (chosen []keyway.GPU, lost string) {
	for _, id := range ids {
		at := slices.IndexFunc(all, func(g keyway.GPU) bool { return g.Index == id || g.UUID == id })
		if at < 0 || all[at].UUID == "" {
			return nil, id
		}
		if !slices.ContainsFunc(chosen, func(g keyway.GPU) bool { return g.UUID == all[at].UUID }) {
			chosen = append(chosen, all[at])
		}
	}
	return chosen, ""
}

// holder returns the holder of a GPU, as the end of "GPU 0 …", or empty if the GPU is free. It
// uses the place's words only if they have the expected form.
func holder(g keyway.GPU) string {
	if h := g.Holder; h != nil {
		name, err := keyway.ParseName(string(h.Workspace))
		if err != nil {
			return "is held by a workspace of " + login(h.Owner)
		}
		return fmt.Sprintf("is held by the workspace %s of %s", name, login(h.Owner))
	}
	for _, p := range g.Processes {
		switch {
		case p.Compute && p.PID == 0:
			return fmt.Sprintf("has %d MiB in use by programs that the driver does not name", p.Memory>>20)
		case p.Compute:
			return fmt.Sprintf("runs the process %d of %s", p.PID, login(p.Owner))
		}
	}
	return ""
}

func login(owner string) string {
	if !keyway.IsLoginName(owner) {
		return "somebody"
	}
	return owner
}

func index(g keyway.GPU) string {
	const most = 16
	if len(g.Index) > most || strings.Trim(g.Index, "0123456789:") != "" {
		return "?"
	}
	return g.Index
}
