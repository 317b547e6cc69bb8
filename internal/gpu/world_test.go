package gpu

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"keyway/internal/filelock"
	"keyway/internal/keyway"
	"keyway/internal/sleep"
)

// world is a machine for simulations: its shared directory, its processes and its
// GPUs. Makers of workspaces are killed in it between any two steps.
type world struct {
	t      testing.TB
	mu     sync.Mutex
	random *rand.Rand
	files  map[string]*worldFile
	procs  map[int]bool // those that live
	pids   int
	boots  int
	gpus   int
	owner  map[string]int // the workspace, by its first process, that computes on a GPU
	granted, killed,
	vanished int
}

type worldFile struct {
	data []byte
	by   *maker // who holds it
}

func newWorld(t testing.TB, gpus int, seed uint64) *world {
	return &world{
		t: t, gpus: gpus, random: rand.New(rand.NewPCG(seed, 1)), files: map[string]*worldFile{}, procs: map[int]bool{}, owner: map[string]int{},
	}
}

func (w *world) draw(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(n)
}

func (w *world) inventory(context.Context) (Inventory, error) {
	inv := Inventory{}
	for i := range w.gpus {
		inv.Devices = append(inv.Devices, Device{Index: fmt.Sprint(i), UUID: fmt.Sprintf("GPU-%d", i)})
	}
	return inv, nil
}

// The table of processes.

func (w *world) boot() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprint(w.boots)
}

func (w *world) start(pid int) string {
	if w.lives(pid) {
		return "start"
	}
	return ""
}
func (w *world) alive(pid int, _ string) bool { return w.lives(pid) }
func (*world) parent(int) int                 { return 0 }
func (*world) command(int) string             { return "" }
func (*world) cgroup(int) string              { return "" }

type worldProcs struct{ *world }

func (worldProcs) owner(int) (int, bool) { return 0, false }

func (w *world) lives(pid int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.procs[pid]
}

// spawn starts the first process of a workspace, which waits for its key.
func (w *world) spawn() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pids++
	w.procs[w.pids] = true
	return w.pids
}

func (w *world) end(pid int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.procs, pid)
}

// compute is the moment at which a workspace has its key and computes. No other workspace may have
// its GPUs.
func (w *world) compute(pid int, devices []Device) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.procs[pid] {
		return
	}
	w.granted++
	for _, d := range devices {
		if other := w.owner[d.UUID]; w.procs[other] {
			w.t.Errorf("%s is granted to %d and %d", d.UUID, other, pid)
		}
		w.owner[d.UUID] = pid
	}
}

// maker is a process that makes workspaces, and the store as it sees it.
type maker struct {
	*world
	steps int // it is killed before that step; 0: never
	dead  bool
	pid   int // of a workspace that has no key yet, which ends with its maker
}

func (m *maker) place() *Pool {
	return &Pool{ask: m.inventory, store: m, procs: worldProcs{m.world}}
}

// step is a moment at which the maker may be killed, or others may run.
func (m *maker) step() {
	m.mu.Lock()
	pause, dies := m.random.IntN(32) == 0, false
	if m.steps > 0 {
		m.steps--
		dies = m.steps == 0
	}
	if dies {
		m.killed++
		m.die()
	}
	dead := m.dead
	m.mu.Unlock()
	if dead {
		runtime.Goexit()
	}
	if pause {
		time.Sleep(time.Millisecond)
	}
}

// die is kill -9: the kernel releases the process's locks. The world is locked.
func (m *maker) die() {
	m.dead = true
	for _, f := range m.files {
		if f.by == m {
			f.by = nil
		}
	}
	delete(m.procs, m.pid)
}

func (m *maker) lock(ctx context.Context) (func(), error) {
	for {
		h, err := m.hold("lock")
		if err == nil {
			return func() { h.release(false) }, nil
		}
		if err := sleep.For(ctx, 3*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

func (m *maker) hold(name string) (holding, error) {
	m.step()
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[name]
	if f == nil {
		f = &worldFile{}
		m.files[name] = f
	}
	if f.by != nil {
		return nil, filelock.ErrLocked
	}
	f.by = m
	return &worldHolding{m, name, f}, nil
}

func (m *maker) look(name string) ([]byte, bool, error) {
	m.step()
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[name]
	if f == nil {
		return nil, false, nil
	}
	return f.data, f.by != nil, nil
}

func (m *maker) list(prefix string) ([]string, error) {
	m.step()
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.files {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

type worldHolding struct {
	maker *maker
	name  string
	file  *worldFile
}

func (h *worldHolding) write(data []byte) error {
	h.maker.step()
	h.maker.mu.Lock()
	defer h.maker.mu.Unlock()
	h.file.data = bytes.Clone(data)
	return nil
}

func (h *worldHolding) release(remove bool) {
	if !h.maker.dead {
		h.maker.step()
	}
	h.maker.mu.Lock()
	defer h.maker.mu.Unlock()
	if h.file.by != h.maker {
		return
	}
	h.file.by = nil
	if remove {
		delete(h.maker.files, h.name)
	}
}

// up runs one keyway up of a user, and the life of the workspace that it makes. It returns how
// long it waited. made is false if it was killed before the workspace was made.
func (w *world) up(who Holder, wish keyway.GPUs, kill int, life time.Duration) (waited time.Duration, made bool) {
	begun := time.Now()
	var over sync.WaitGroup
	over.Go(func() { // a process of its own, which kill ends
		m := &maker{world: w, steps: kill}
		grant, err := m.place().Take(context.Background(), Request{Holder: who, GPUs: wish}, func(keyway.Progress) {})
		if err != nil {
			w.t.Errorf("%s: %v", who.Owner, err)
			return
		}
		waited = time.Since(begun)
		defer grant.Close()
		pid := w.spawn()
		m.pid = pid
		if m.dead {
			w.end(pid)
			return
		}
		m.step()
		if err := grant.Bind(pid); err != nil {
			w.t.Errorf("%s: %v", who.Owner, err)
			return
		}
		w.compute(pid, grant.Devices) // the key is written
		made, m.pid = true, 0
		over.Go(func() { // the workspace lives on without its maker
			time.Sleep(life)
			w.end(pid)
		})
	})
	over.Wait()
	return waited, made
}
