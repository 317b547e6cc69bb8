//go:build linux

package faults

import (
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"keyway/test/lab"
)

// period is the time between two kills, random that between kills at random, and life the time for
// which the uplink must have been up: otherwise no byte would move on a machine on which connecting
// takes as long as a period.
const (
	period = 2 * time.Second
	random = time.Second
	life   = time.Second
)

// killer kills once in each period, without a warning, until it is stopped.
type killer struct {
	w       *world
	period  time.Duration
	victims func() (what string, pids []int)
	kills   atomic.Int64
	counts  map[string]int // by what was killed; not to be read before stop
	spared  int
	done    chan struct{}
	work    sync.WaitGroup
}

func (w *world) startKiller(period time.Duration, victims func() (string, []int)) *killer {
	k := &killer{w: w, period: period, victims: victims, counts: map[string]int{}, done: make(chan struct{})}
	k.work.Go(k.run)
	return k
}

func (k *killer) run() {
	tick := time.NewTicker(k.period)
	defer tick.Stop()
	for {
		select {
		case <-k.done:
			return
		case <-tick.C:
		}
		if k.w.upFor() < life {
			k.spared++
			continue
		}
		what, pids := k.victims()
		if len(pids) == 0 {
			continue
		}
		if err := lab.Kill(syscall.SIGKILL, pids...); err != nil {
			k.w.t.Errorf("kill %s: %v", what, err)
		}
		k.counts[what]++
		k.kills.Add(1)
	}
}

func (k *killer) stop() {
	close(k.done)
	k.work.Wait()
	k.w.t.Logf("killed %v; spared %d times, as the way was just up again", k.counts, k.spared)
}

func (w *world) sessions() (string, []int) { return "the bastion's connections", w.Bastion.Sessions() }
func (w *world) nodes() (string, []int)    { return "the node", w.GPU.Nodes() }
func (w *world) sshRuns() (string, []int)  { return "the link's ssh", w.Laptop.SSHRuns() }

// any returns one of them at random, or two at the same time.
func (w *world) any(r *rand.Rand) (string, []int) {
	all := []func() (string, []int){w.sessions, w.nodes, w.sshRuns}
	i := r.IntN(len(all) + 1)
	if i < len(all) {
		return all[i]()
	}
	_, a := all[0]()
	_, b := all[1]()
	return "bastion and node at the same time", append(a, b...)
}

// least is the number of kills that each work must survive.
const least = 5

// TestKill kills one thing every two seconds during copies in both directions and other work. Each
// kind of work is repeated until it has survived enough kills. The file is larger than any 31-bit
// limit where the bastion is killed; a quarter of it is enough for the others.
func TestKill(t *testing.T) {
	t.Parallel()
	quarter, err := newSample("quarter", big.size/4)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		options lab.Options
		file    sample
		victims func(*world) func() (string, []int)
	}{
		"bastion": {lab.Options{Docker: true, Images: []lab.Image{lab.Base}}, big, func(w *world) func() (string, []int) { return w.sessions }},
		"node":    {lab.Options{}, quarter, func(w *world) func() (string, []int) { return w.nodes }},
		"ssh":     {lab.Options{}, quarter, func(w *world) func() (string, []int) { return w.sshRuns }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, test.options)
			w.put(test.file, "big")
			works := everything(test.file)
			w.prepare(works)
			k := w.startKiller(period, test.victims(w))
			defer k.stop()
			w.all(works, k, func(seen int64) bool { return seen >= least })
		})
	}
}

// TestKillAtRandom kills processes at random for -duration, a minute by default; "make soak"
// sets it. KEYWAY_SEED repeats a choice.
func TestKillAtRandom(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("KEYWAY_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("KEYWAY_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	w := start(t, lab.Options{})
	small, err := newSample("small", 200<<20)
	if err != nil {
		t.Fatal(err)
	}
	w.put(small, "big")
	works := everything(small)
	w.prepare(works)
	k := w.startKiller(random, func() (string, []int) { return w.any(r) })
	defer k.stop()
	end := time.Now().Add(*duration)
	w.all(works, k, func(int64) bool { return time.Now().After(end) })
}

func (w *world) prepare(works []work) {
	w.t.Helper()
	for _, x := range works {
		if x.begin == nil {
			continue
		}
		if err := x.begin(w); err != nil {
			w.t.Fatalf("%s: %v", x.name, err)
		}
	}
}

// all runs all works at the same time. It repeats each until enough reports that it has survived
// enough kills.
func (w *world) all(works []work, k *killer, enough func(kills int64) bool) {
	var all sync.WaitGroup
	for _, x := range works {
		all.Go(func() {
			begin, first := time.Now(), k.kills.Load()
			rounds := 0
			for {
				err := x.once(w)
				rounds++
				seen := k.kills.Load() - first
				if err != nil {
					w.t.Errorf("%s, round %d, after %d kills: %v", x.name, rounds, seen, err)
					return
				}
				if enough(seen) {
					w.t.Logf("%s: %d rounds, %d kills, %v", x.name, rounds, seen, time.Since(begin).Round(time.Second))
					return
				}
			}
		})
	}
	all.Wait()
}
