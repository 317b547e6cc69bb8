package gpu

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"keyway/internal/account"
	"keyway/internal/keyway"
)

// Holder is a workspace that has GPUs, or waits for some.
type Holder struct {
	Owner     string      `json:"owner"` // as engines write it: a uid
	Workspace keyway.Name `json:"workspace"`
	Engine    string      `json:"engine"`
}

// Holding are the GPUs that a running workspace has, as its engine tells.
type Holding struct {
	Holder
	UUIDs []string
	// Asked is the request by which a workspace got GPUs without a lease of keyway's: a number of
	// the first ones, or these by UUID, index or device file.
	Asked keyway.GPUs
	PID   int // of the workspace's first process; 0: not known here
}

// has reports whether the n-th device is one of them.
func (h Holding) has(n int, d Device) bool {
	if slices.Contains(h.UUIDs, d.UUID) || h.Asked.All || n < h.Asked.Count {
		return true
	}
	return slices.ContainsFunc(h.Asked.IDs, func(id string) bool {
		return id == d.UUID || id == d.Index || d.Minor >= 0 && id == "/dev/nvidia"+strconv.Itoa(d.Minor)
	})
}

// lease records that a workspace has a GPU while its first process lives.
type lease struct {
	Holder
	PID   int    `json:"pid"`   // of the first process; 0: it has none yet
	Start string `json:"start"` // when that was started; with PID, it names a process
	Boot  string `json:"boot"`  // of the machine
}

// wait records that a workspace waits for GPUs. It is valid while its file is held.
type wait struct {
	Holder
	GPUs  keyway.GPUs `json:"gpus"`
	Since time.Time   `json:"since"` // for people; the order is that of the files
}

// processes is the table of processes of the machine.
type processes interface {
	boot() string
	start(pid int) string
	alive(pid int, start string) bool
	parent(pid int) int
	owner(pid int) (uid int, ok bool)
	command(pid int) string
	cgroup(pid int) string
}

// Pool lends the GPUs of one machine. It remembers nothing: all that use the same
// directory work together, whichever process or user they are.
type Pool struct {
	ask   func(context.Context) (Inventory, error)
	store store
	procs processes
}

// leaseDirs are the possible parents of the directory; the first that exists is used. It must
// be writable for every user, emptied at the machine's start, and not on a network. The second
// is for distributions that restrict the first one.
var leaseDirs = []string{"/run/lock", "/tmp"}

// Here returns the Pool of this machine. Its leases are where all users of the
// machine can write.
func Here() *Pool {
	dir := leaseDirs[len(leaseDirs)-1]
	for _, base := range leaseDirs {
		if openToAll(base) {
			dir = base
			break
		}
	}
	return At(filepath.Join(dir, "keyway-gpus"), "", smiTimeout)
}

// At returns the Pool of this machine with its leases in dir. nvidiaSMI is a program that
// answers instead of nvidia-smi; empty: the one that is installed. timeout bounds one run
// of it.
func At(dir, nvidiaSMI string, timeout time.Duration) *Pool {
	return &Pool{ask: smi{nvidiaSMI, timeout}.inventory, store: directory{dir}, procs: machine{}}
}

// The files of a store: one for each GPU that was ever lent, with its lease, and one
// for each that waits.
const (
	leasePrefix = "gpu-"
	waitPrefix  = "wait-"
)

func leaseFile(uuid string) string { return leasePrefix + strings.ReplaceAll(uuid, "/", "_") }

// live reports whether the workspace of a lease still runs.
func (p *Pool) live(l lease) bool {
	return l.PID > 0 && l.Boot == p.procs.boot() && p.procs.alive(l.PID, l.Start)
}

// holderOf returns the holder of the GPU's lease; nil: none, or one that has ended. The caller has
// the store's lock.
func (p *Pool) holderOf(uuid string) (*holder, error) {
	data, held, err := p.store.look(leaseFile(uuid))
	if err != nil {
		return nil, fmt.Errorf("the lease of the GPU %s: %w", uuid, err)
	}
	var l lease
	readable := json.Unmarshal(data, &l) == nil
	switch {
	case held:
		return &holder{Holder: l.Holder, starting: true}, nil
	case readable && p.live(l):
		return &holder{Holder: l.Holder, pid: l.PID}, nil
	}
	return nil, nil
}

// holder is the present holder of a GPU.
type holder struct {
	Holder
	starting bool
	pid      int      // of the workspace's first process; 0: not known
	process  *Process // what computes there, if it is no workspace
}

// holders returns the holders of the devices: by lease, as an engine reports, or because a
// process computes there.
func (p *Pool) holders(devices []Device, told []Holding) (map[string]*holder, error) {
	all := map[string]*holder{}
	for n, d := range devices {
		if d.UUID == "" {
			continue
		}
		for _, h := range told {
			if h.has(n, d) && (all[d.UUID] == nil || h.Asked.None()) {
				all[d.UUID] = &holder{Holder: h.Holder, pid: h.PID}
			}
		}
		l, err := p.holderOf(d.UUID)
		switch {
		case err != nil:
			return nil, err
		case l != nil:
			all[d.UUID] = l
		case all[d.UUID] == nil && d.busy() != nil:
			all[d.UUID] = &holder{process: d.busy()}
		}
	}
	return all, nil
}

// quiet is the memory, in bytes, that may be in use on an idle GPU: a driver needs some, and so
// does a desktop.
const quiet = 1 << 30

// busy returns the process that uses the device; nil if there is none. If the driver does not
// report it, the memory in use decides, and the process has no pid.
func (d Device) busy() *Process {
	for i, proc := range d.Processes {
		if proc.Compute {
			return &d.Processes[i]
		}
	}
	if d.Unseen && d.Used > quiet {
		return &Process{Memory: d.Used, Compute: true}
	}
	return nil
}

// people returns the login name of a uid in the form that engines write, or the uid if it has
// none.
func people(owner string) string {
	uid, err := strconv.Atoi(owner)
	if err != nil {
		return text(owner)
	}
	if known, ok := account.Lookup(uid); ok {
		return text(known.Name)
	}
	return "uid " + owner
}

// sentence names the holder of the device, as the end of "GPU 0 …".
func (p *Pool) sentence(h *holder) string {
	switch {
	case h.starting && h.Workspace != "":
		return fmt.Sprintf("is being given to %s of %s", h.Workspace, people(h.Owner))
	case h.starting:
		return "is being given to somebody"
	case h.process == nil:
		return fmt.Sprintf("is held by the workspace %s of %s", h.Workspace, people(h.Owner))
	case h.process.PID == 0:
		return fmt.Sprintf("has %d MiB in use by programs that the driver does not name", h.process.Memory>>20)
	}
	who := "somebody"
	if uid, ok := p.procs.owner(h.process.PID); ok {
		who = people(strconv.Itoa(uid))
	}
	command := p.procs.command(h.process.PID)
	if command == "" {
		command = "a program"
	}
	return fmt.Sprintf("runs %s (process %d) of %s, which is in no workspace that is known here", command, h.process.PID, who)
}
