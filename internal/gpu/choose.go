package gpu

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"keyway/internal/keyway"
)

// decision is the answer to a request: the devices, if they are available now.
type decision struct {
	devices []Device
	// taken are devices that are wanted and cannot be had, or the free ones are too
	// few without.
	taken []Device
	// queued means that enough devices are free, but that others came first.
	queued bool
}

func (d decision) granted() bool { return len(d.devices) > 0 }

// decide chooses devices for a wish. ahead has the earlier wishes in the queue. They keep the
// devices that they could use: a wish for particular GPUs keeps these, and any other wish keeps
// all. So no wish is overtaken, and none waits for devices that no other wish can use.
func decide(inv Inventory, wish keyway.GPUs, held map[string]*holder, ahead []keyway.GPUs) (decision, error) {
	wanted, count, err := inv.resolve(wish)
	if err != nil {
		return decision{}, err
	}
	var free, taken []Device
	for _, d := range wanted {
		if held[d.UUID] == nil {
			free = append(free, d)
		} else {
			taken = append(taken, d)
		}
	}
	if len(free) < count {
		return decision{taken: taken}, nil
	}
	reserved := inv.reserved(ahead)
	open := slices.DeleteFunc(slices.Clone(free), func(d Device) bool { return reserved[d.UUID] })
	if len(open) < count {
		return decision{taken: taken, queued: true}, nil
	}
	return decision{devices: open[:count]}, nil
}

// reserved returns the GPUs that earlier requests in the queue could use.
func (inv Inventory) reserved(ahead []keyway.GPUs) map[string]bool {
	all := map[string]bool{}
	for _, wish := range ahead {
		wanted, _, err := inv.resolve(wish)
		if err != nil {
			continue // it cannot be met; its own up says so
		}
		for _, d := range wanted {
			all[d.UUID] = true
		}
	}
	return all
}

// resolve returns the devices that can meet a request, the preferred ones first, and how many of
// them are requested.
func (inv Inventory) resolve(wish keyway.GPUs) ([]Device, int, error) {
	good := inv.reachable()
	switch {
	case len(inv.Devices) == 0:
		return nil, 0, keyway.Errorf(keyway.NoGPU, "this place has no GPU (asked for: %s)", wish).Advise(keyway.WithoutGPUs)
	case len(wish.IDs) > 0:
		chosen, err := inv.named(wish)
		return chosen, len(chosen), err
	case wish.All && len(good) < len(inv.Devices):
		return nil, 0, keyway.Errorf(keyway.NoGPU, "the driver cannot reach every GPU of this place, and all are asked for: %s", inv.lost()).
			Hint("see what is wrong, at the place: nvidia-smi -q").Advise(keyway.FewerGPUs, strconv.Itoa(len(good)))
	case wish.All:
		return good, len(good), nil
	case wish.Count > len(good):
		return nil, 0, keyway.Errorf(keyway.NoGPU, "this place has %d GPUs that can be used, not %d", len(good), wish.Count).
			Advise(keyway.FewerGPUs, strconv.Itoa(len(good)))
	}
	return good, wish.Count, nil
}

// reachable returns the devices that can be lent, whole ones first.
func (inv Inventory) reachable() []Device {
	good := slices.DeleteFunc(slices.Clone(inv.Devices), func(d Device) bool { return d.UUID == "" })
	slices.SortStableFunc(good, func(a, b Device) int {
		switch {
		case a.isPart() == b.isPart():
			return 0
		case a.isPart():
			return 1
		}
		return -1
	})
	return good
}

func (inv Inventory) lost() string {
	var lost []string
	for _, d := range inv.Devices {
		if d.UUID == "" {
			lost = append(lost, "GPU "+d.Index)
		}
	}
	return strings.Join(lost, ", ") + " gives no UUID"
}

// named returns the devices of a list of UUIDs and indices.
func (inv Inventory) named(wish keyway.GPUs) ([]Device, error) {
	var chosen []Device
	for _, id := range wish.IDs {
		at := slices.IndexFunc(inv.Devices, func(d Device) bool { return d.Index == id || d.UUID == id })
		if at < 0 {
			return nil, inv.unknown(id)
		}
		d := inv.Devices[at]
		if d.UUID == "" {
			return nil, keyway.Errorf(keyway.NoGPU, "the driver cannot reach GPU %s of this place", d.Index).
				Hint("take another, or see what is wrong, at the place: nvidia-smi -q -i %s", d.Index)
		}
		if !slices.ContainsFunc(chosen, func(c Device) bool { return c.UUID == d.UUID }) {
			chosen = append(chosen, d)
		}
	}
	return chosen, nil
}

// unknown returns the error for an unknown GPU; it lists the existing ones.
func (inv Inventory) unknown(id string) error {
	var there []string
	for _, d := range inv.Devices {
		if strings.HasPrefix(d.Index, id+":") {
			there = append(there, d.Index)
		}
	}
	if len(there) > 0 {
		return keyway.Errorf(keyway.NoGPU, "GPU %s of this place is divided (MIG), and is not given as a whole", id).
			Advise(keyway.NameGPUs, strings.Join(there, ","))
	}
	for _, d := range inv.Devices {
		there = append(there, d.Index)
	}
	return keyway.Errorf(keyway.NoGPU, "this place has no GPU %s; it has %s", id, strings.Join(there, ", ")).Advise(keyway.SeeGPUs)
}

// refusal returns the error for a request that cannot be met now.
func (p *Pool) refusal(wish keyway.GPUs, d decision, held map[string]*holder, waiters int) error {
	why := p.taken(d.taken, held)
	if d.queued {
		why = fmt.Sprintf("others came first: %d in the queue", waiters)
	}
	return keyway.Errorf(keyway.NoGPU, "the GPUs asked for (%s) are not free: %s", wish, why).
		Advise(keyway.WaitForGPUs, wish.String()).Advise(keyway.SeeGPUs)
}

// maxNamed bounds how many GPUs a sentence names.
const maxNamed = 8

func (p *Pool) taken(devices []Device, held map[string]*holder) string {
	var said []string
	for i, d := range devices {
		if i == maxNamed {
			said = append(said, fmt.Sprintf("and %d more", len(devices)-i))
			break
		}
		said = append(said, fmt.Sprintf("GPU %s %s", d.Index, p.sentence(held[d.UUID])))
	}
	return strings.Join(said, "; ")
}
