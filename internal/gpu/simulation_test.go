package gpu

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keyway/internal/keyway"
)

var (
	requests = flag.Int("requests", 800, "how many requests the simulation makes")
	seeds    = flag.Int("seeds", 1, "with how many seeds")
)

const (
	persons = 100
	// manyRequests are enough for the rarer wishes to be granted often.
	manyRequests = 10_000
	machines     = 8 // GPUs of the one machine
)

// TestSimulation simulates 100 users that request 8 GPUs again and again, with the code that keyway
// ships. Makers are killed between any two of their steps, containers vanish, the machine restarts,
// and clocks jump. It checks that no GPU has two workspaces, that none is lost, and that equal
// requests wait equally long.
func TestSimulation(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { simulate(t, uint64(seed), *requests / *seeds) })
		})
	}
}

func simulate(t *testing.T, seed uint64, requests int) {
	w := newWorld(t, machines, seed)
	waits := map[string][]time.Duration{} // by wish: the mean waiting time of each person
	enough := requests / persons / 3      // waits of one wish that make their mean reliable
	var mu sync.Mutex
	var all sync.WaitGroup
	ended := make(chan struct{})
	for person := range persons {
		all.Go(func() {
			for wish, mean := range w.person(person, requests/persons, enough) {
				mu.Lock()
				waits[wish] = append(waits[wish], mean)
				mu.Unlock()
			}
		})
	}
	var disorder sync.WaitGroup
	disorder.Go(func() { w.disorder(ended) })
	all.Wait()
	close(ended)
	disorder.Wait()
	w.wantNothingLeaked()
	if len(waits["1"]) < persons/2 {
		t.Errorf("the waits of %d people are known", len(waits["1"]))
	}
	for wish, means := range waits {
		if wish != "1" && requests < manyRequests {
			continue
		}
		if j := jain(means); j < 0.95 {
			t.Errorf("--gpus %s: Jain's index of the waiting times is %.3f", wish, j)
		} else {
			t.Logf("--gpus %s: Jain's index of the waiting times is %.3f", wish, j)
		}
	}
	t.Logf("%d workspaces, %d makers killed, %d workspaces vanished, the machine was started %d times anew", w.granted, w.killed, w.vanished, w.boots)
	if w.granted < requests/2 || w.killed < requests/50 || w.vanished == 0 || w.boots == 0 {
		t.Error("the simulation is not what it is meant to be")
	}
}

// person asks for GPUs again and again, and returns the mean waiting time by wish, for the wishes
// that were granted often enough.
func (w *world) person(number, times, enough int) map[string]time.Duration {
	sum, count := map[string]time.Duration{}, map[string]int{}
	for n := range times {
		time.Sleep(time.Duration(w.draw(300)) * time.Second)
		wish := keyway.GPUs{Count: 1, Wait: true}
		switch w.draw(10) {
		case 0, 1:
			wish.Count = 2
		case 2:
			wish = keyway.GPUs{IDs: []string{fmt.Sprint(w.draw(machines))}, Wait: true}
		case 3:
			if w.draw(20) == 0 {
				wish = keyway.GPUs{All: true, Wait: true}
			}
		}
		kill := 0
		if w.draw(10) == 0 {
			kill = 1 + w.draw(60)
		}
		who := Holder{Owner: fmt.Sprint("p", number), Workspace: keyway.Name(fmt.Sprint("w", n)), Engine: "host"}
		waited, made := w.up(who, wish, kill, time.Duration(1+w.draw(80))*time.Second)
		if made && wish.Count > 0 {
			sum[wish.String()] += waited
			count[wish.String()]++
		}
	}
	for wish := range sum {
		if count[wish] < enough {
			delete(sum, wish)
			continue
		}
		sum[wish] /= time.Duration(count[wish])
	}
	return sum
}

// disorder removes workspaces, sets clocks and restarts the machine, until ended.
func (w *world) disorder(ended chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-ended:
			return
		case <-time.After(time.Duration(10+w.draw(600)) * time.Second):
		}
		w.mu.Lock()
		for pid := range w.procs {
			w.vanished++
			delete(w.procs, pid) // any one
			break
		}
		for name, f := range w.files {
			if numberOf(name) > 0 && f.by != nil { // written by a wrong clock
				f.data = []byte(fmt.Sprintf(`{"owner":"p0","workspace":"w","engine":"host","gpus":{"count":%d},"since":"%d-01-01T00:00:00Z"}`, 1+w.random.IntN(2), 1970+w.random.IntN(200)))
				break
			}
		}
		if n%8 == 3 {
			w.boots++
			clear(w.procs)
		}
		w.mu.Unlock()
	}
}

// wantNothingLeaked takes all GPUs once more, at once.
func (w *world) wantNothingLeaked() {
	m := &maker{world: w}
	grant, err := m.place().Take(context.Background(), Request{Holder: Holder{Owner: "last"}, GPUs: keyway.GPUs{All: true}}, nil)
	if err != nil || len(grant.Devices) != w.gpus {
		w.t.Errorf("at the end, not all GPUs are free: %v", err)
		return
	}
	grant.Close()
	if q, err := m.place().waiting(""); err != nil || q.count > 0 {
		w.t.Errorf("at the end, %d wait: %v", q.count, err)
	}
}

// jain is Jain's index of fairness: 1 if all are equal, 1/n if one has all.
func jain(means []time.Duration) float64 {
	var sum, squares float64
	for _, m := range means {
		s := m.Seconds()
		sum, squares = sum+s, squares+s*s
	}
	if squares == 0 {
		return 1
	}
	return sum * sum / (float64(len(means)) * squares)
}
