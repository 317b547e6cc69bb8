//go:build linux

package enginetest

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
)

// GPULab is a place with stand-ins for GPUs, for engines that lend them.
type GPULab struct {
	UUIDs []string // of the GPUs, by their numbers; three at least
	// Other is the same place for another owner.
	Other Subject
	// See are the UUIDs of the GPUs that a workspace sees from inside.
	See func(t testing.TB, s Subject, w keyway.Workspace) []string
	// Compute makes the driver report processes on the GPUs of these numbers, and on no others.
	Compute func(t testing.TB, pids map[int]int)
}

// GPUs tests the contract of an engine that lends GPUs.
func GPUs(t *testing.T, s Subject, lab GPULab) {
	if !slices.Contains(s.Abilities, api.AbilityGPUs) {
		t.Fatalf("the engine's test says that it lends no GPUs: %q", s.Abilities)
	}
	for _, test := range []struct {
		name string
		test func(*testing.T, Subject, GPULab)
	}{
		{"Given", gpusGiven},
		{"NotThere", gpusNotThere},
		{"Contradiction", gpusContradiction},
		{"TakenByAnother", gpusTaken},
		{"TakenByAProcess", gpusComputing},
		{"FreeAgain", gpusFreeAgain},
		{"StartAgain", gpusStartAgain},
		{"Wait", gpusWait},
		{"WaitInterrupted", gpusWaitInterrupted},
		{"CancelLeavesNothing", gpusCancel},
	} {
		t.Run(test.name, func(t *testing.T) { test.test(t, s, lab) })
	}
}

// gpuSpec returns a plain workspace that requests GPUs in the form of --gpus.
func (s Subject) gpuSpec(t testing.TB, name keyway.Name, gpus string) keyway.Spec {
	t.Helper()
	spec := s.Spec(t, name)
	var err error
	if spec.GPUs, err = keyway.ParseGPUs(gpus); err != nil {
		t.Fatal(err)
	}
	return spec
}

// drop ends a workspace that the test no longer needs.
func (s Subject) drop(t testing.TB, name keyway.Name) {
	t.Helper()
	if err := s.Engine.Remove(Context(t), name); err != nil {
		t.Fatal(Full(err))
	}
}

// wantRefused fails the test unless the GPUs are refused in words that have all of
// these in them, and nothing is left.
func (s Subject) wantRefused(t testing.TB, spec keyway.Spec, words ...string) {
	t.Helper()
	_, err := s.Engine.Create(Context(t), spec, Quiet)
	WantKind(t, err, keyway.NoGPU)
	for _, word := range words {
		if !strings.Contains(Full(err), word) {
			t.Errorf("the refusal does not say %q: %s", word, Full(err))
		}
	}
	s.WantNothingOf(t, spec.Name)
}

func gpusGiven(t *testing.T, s Subject, lab GPULab) {
	for flag, want := range map[string][]string{
		"all": lab.UUIDs, "2": lab.UUIDs[:2], "1": lab.UUIDs[:1], "device=1": lab.UUIDs[1:2], "device=2,0": {lab.UUIDs[0], lab.UUIDs[2]},
		lab.UUIDs[2] + "," + lab.UUIDs[1]: lab.UUIDs[1:3],
	} {
		w := s.Create(t, s.gpuSpec(t, "given", flag))
		if got := lab.See(t, s, w); !slices.Equal(got, want) {
			t.Errorf("--gpus %s: it sees %q, want %q", flag, got, want)
		}
		if listed, _ := s.State(t, w.Name); listed.GPUs.String() != w.GPUs.String() || w.GPUs.None() {
			t.Errorf("--gpus %s: Create tells of %s, List of %s", flag, w.GPUs, listed.GPUs)
		}
		s.drop(t, "given")
	}
}

func gpusNotThere(t *testing.T, s Subject, lab GPULab) {
	s.wantRefused(t, s.gpuSpec(t, "absent", "device=7"), "7")
	s.wantRefused(t, s.gpuSpec(t, "absent", "GPU-no-such"), "GPU-no-such")
	many := s.gpuSpec(t, "absent", "9")
	many.GPUs.Wait = true // which nothing would come of
	s.wantRefused(t, many, "9", "3")
}

func gpusContradiction(t *testing.T, s Subject, _ GPULab) {
	for _, name := range []string{"NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"} {
		spec := s.gpuSpec(t, "both", "1")
		spec.Env = map[string]string{name: "all"}
		if _, err := s.Engine.Create(Context(t), spec, Quiet); err != nil {
			WantKind(t, err, keyway.Usage)
			s.WantNothingOf(t, "both")
			return // the one of them that this engine goes by
		}
		s.drop(t, "both")
	}
	t.Error("a variable that says which GPUs there are does not contradict --gpus")
}

func gpusTaken(t *testing.T, s Subject, lab GPULab) {
	lab.Other.Create(t, lab.Other.gpuSpec(t, "holder", "device=1"))
	s.wantRefused(t, s.gpuSpec(t, "late", "device=1"), "GPU 1", "holder", string(keyway.SeeGPUs), string(keyway.WaitForGPUs))
	s.wantRefused(t, s.gpuSpec(t, "late", "3"), "GPU 1", "holder")
	s.wantRefused(t, s.gpuSpec(t, "late", "all"), "GPU 1", "holder")
	w := s.Create(t, s.gpuSpec(t, "beside", "2"))
	if got, want := lab.See(t, s, w), []string{lab.UUIDs[0], lab.UUIDs[2]}; !slices.Equal(got, want) {
		t.Errorf("beside another it sees %q, want %q", got, want)
	}
}

func gpusComputing(t *testing.T, s Subject, lab GPULab) {
	lab.Compute(t, map[int]int{0: os.Getpid()})
	defer lab.Compute(t, nil)
	s.wantRefused(t, s.gpuSpec(t, "late", "device=0"), "GPU 0 runs", "no workspace")
	w := s.Create(t, s.gpuSpec(t, "beside", "1"))
	if got := lab.See(t, s, w); !slices.Equal(got, lab.UUIDs[1:2]) {
		t.Errorf("beside a process it sees %q", got)
	}
}

func gpusFreeAgain(t *testing.T, s Subject, lab GPULab) {
	for how, end := range map[string]func(name keyway.Name){
		"stopped": func(name keyway.Name) {
			if err := s.Engine.Stop(Context(t), name, time.Second); err != nil {
				t.Fatal(Full(err))
			}
		},
		"killed": func(name keyway.Name) {
			s.Kill(t, name)
			s.Await(t, name, keyway.Stopped)
		},
		"removed": func(name keyway.Name) { s.drop(t, name) },
	} {
		first := s.Create(t, s.gpuSpec(t, "first", "all"))
		end(first.Name)
		next := lab.Other.Create(t, lab.Other.gpuSpec(t, "next", "all"))
		if got := lab.See(t, lab.Other, next); !slices.Equal(got, lab.UUIDs) {
			t.Errorf("after one was %s, the next sees %q", how, got)
		}
		lab.Other.drop(t, next.Name)
		if how != "removed" {
			s.drop(t, first.Name)
		}
	}
}

func gpusStartAgain(t *testing.T, s Subject, lab GPULab) {
	w := s.Create(t, s.gpuSpec(t, "again", "device=2"))
	stop := func() {
		if err := s.Engine.Stop(Context(t), w.Name, time.Second); err != nil {
			t.Fatal(Full(err))
		}
	}
	stop()
	if err := s.Engine.Start(Context(t), w.Name); err != nil {
		t.Fatal(Full(err))
	}
	if got := lab.See(t, s, w); !slices.Equal(got, lab.UUIDs[2:3]) {
		t.Errorf("started again it sees %q", got)
	}
	s.wantRefused(t, s.gpuSpec(t, "late", "device=2"), "again")
	stop()
	lab.Other.Create(t, lab.Other.gpuSpec(t, "holder", "device=2"))
	err := s.Engine.Start(Context(t), w.Name)
	WantKind(t, err, keyway.NoGPU)
	if !strings.Contains(err.Error(), "holder") {
		t.Errorf("started while another has its GPU: %v", Full(err))
	}
}

// waits creates a workspace that waits for GPUs. It returns when the workspace is in
// the queue; result waits for the end of Create.
func (s Subject) waits(t testing.TB, ctx context.Context, spec keyway.Spec) (result func() error) {
	t.Helper()
	spec.GPUs.Wait = true
	queued, ended := make(chan struct{}), make(chan error, 1)
	seen := false
	go func() {
		_, err := s.Engine.Create(ctx, spec, func(p keyway.Progress) {
			if !seen && strings.HasPrefix(p.Message, "waiting for GPUs") {
				seen = true
				close(queued)
			}
		})
		ended <- err
	}()
	select {
	case <-queued:
	case err := <-ended:
		t.Fatalf("it did not wait: %v", err)
	}
	return func() error { return <-ended }
}

func gpusWait(t *testing.T, s Subject, lab GPULab) {
	s.Create(t, s.gpuSpec(t, "first", "all"))
	second := lab.Other.waits(t, Context(t), lab.Other.gpuSpec(t, "second", "2"))
	third := s.waits(t, Context(t), s.gpuSpec(t, "third", "2"))
	s.drop(t, "first")
	if err := second(); err != nil {
		t.Fatalf("the first in the queue: %v", Full(err))
	}
	// One GPU is free, and the next in the queue requests two.
	s.wantRefused(t, s.gpuSpec(t, "barges", "1"), "came first")
	lab.Other.drop(t, "second")
	if err := third(); err != nil {
		t.Fatalf("the second in the queue: %v", Full(err))
	}
	s.drop(t, "third")
}

func gpusWaitInterrupted(t *testing.T, s Subject, lab GPULab) {
	s.Create(t, s.gpuSpec(t, "first", "all"))
	ctx, cancel := context.WithCancel(Context(t))
	result := s.waits(t, ctx, s.gpuSpec(t, "given-up", "1"))
	cancel()
	if err := result(); err == nil {
		t.Error("it was made all the same")
	}
	s.WantNothingOf(t, "given-up")
	s.drop(t, "first")
	lab.Other.Create(t, lab.Other.gpuSpec(t, "next", "all")) // the queue is empty
}

// gpusCancel gives up in the middle, again and again: the GPUs are free each time.
func gpusCancel(t *testing.T, s Subject, lab GPULab) {
	before := time.Now()
	s.Create(t, s.gpuSpec(t, "measure", "all"))
	whole := time.Since(before)
	s.drop(t, "measure")
	const moments = 6
	for i := range moments {
		ctx, cancel := context.WithTimeout(Context(t), whole*time.Duration(i)/moments)
		_, err := s.Engine.Create(ctx, s.gpuSpec(t, "cancelled", "all"), Quiet)
		cancel()
		if err == nil {
			s.drop(t, "cancelled")
		}
		s.WantNothingOf(t, "cancelled")
	}
	lab.Other.Create(t, lab.Other.gpuSpec(t, "next", "all"))
}
