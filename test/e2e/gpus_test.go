//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"keyway/internal/keyway"
	"keyway/test/lab"
)

// TestGPUMachine checks stand-ins for GPUs in the GPU machine behind the bastion.
func TestGPUMachine(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Base}})
	smi, err := w.AddGPUs(3)
	if err != nil {
		t.Fatal(err)
	}
	w.addAda(t)
	for _, argv := range [][]string{{"keyway", "init", "--yes"}, {"keyway", "unlock"}} {
		w.must(t, argv...)
	}
	t.Run("lent", func(t *testing.T) { w.lentGPUs(t, smi) })
	t.Run("compose", w.besideCompose)
}

// gpuPlace is a place in the output of keyway gpus --json.
type gpuPlace struct {
	Place string
	GPUs  []keyway.GPU
	Queue []keyway.GPUWaiter
}

func (w *world) gpus(t *testing.T, place string) gpuPlace {
	t.Helper()
	var all []gpuPlace
	text := w.must(t, "keyway", "gpus", "--on", place, "--json")
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all) != 1 || all[0].Place != place || len(all[0].GPUs) != 3 {
		t.Fatalf("%v: %s", err, text)
	}
	return all[0]
}

// holders returns the workspaces that have the GPUs of a place, in order of these.
func (p gpuPlace) holders() string {
	names := make([]string, len(p.GPUs))
	for i, g := range p.GPUs {
		names[i] = "-"
		if g.Holder != nil {
			names[i] = g.Holder.Owner + "/" + string(g.Holder.Workspace)
		}
	}
	return strings.Join(names, " ")
}

// lentGPUs lends, shows and awaits GPUs through the bastion, for two users of the place.
func (w *world) lentGPUs(t *testing.T, smi *lab.FakeSMI) {
	image := []string{"--image", string(lab.Base)}
	up := func(place, name string, args ...string) []string {
		return append(append([]string{"keyway", "up", "--on", place, "--name", name}, image...), args...)
	}
	equal(t, "before", w.gpus(t, "gpu1").holders(), "- - -")
	w.must(t, up("gpu1", "first", "--gpus", "2")...)
	equal(t, "the devices inside", w.must(t, "ssh", "first", "ls /dev | grep nvidia; echo $NVIDIA_VISIBLE_DEVICES"), "nvidia0\nnvidia1\nGPU-fake-0,GPU-fake-1\n")
	for _, place := range []string{"gpu1", "ada"} {
		equal(t, "as "+place+" sees it", w.gpus(t, place).holders(), "root/first root/first -")
	}
	if r := w.do(up("ada", "second", "--gpus", "2")...); r.Code != keyway.ExitCode(keyway.Errorf(keyway.NoGPU, "")) || !strings.Contains(r.Stderr, "first of root") {
		t.Errorf("two of one that is free: %s", r)
	}
	w.foreignGPU(t, smi)

	waiter := w.command(up("ada", "second", "--gpus", "2", "--wait")...)
	came := make(chan result, 1)
	go func() { came <- w.finish(waiter, "") }()
	w.await(t, `"workspace":"second"`, "sh", "-c", "keyway gpus --on gpu1 --json | tr -d ' \n'")
	if q := w.gpus(t, "gpu1").Queue; len(q) != 1 || q[0].Owner != "ada" || q[0].GPUs != "2" {
		t.Errorf("the queue: %+v", q)
	}
	holds(t, "the queue for people", w.must(t, "keyway", "gpus", "--on", "gpu1"), "second")
	w.interruptedWait(t, up("gpu1", "third", "--gpus", "all", "--wait"))
	w.must(t, "keyway", "rm", "--yes", "first")
	if r := <-came; r.Code != 0 {
		t.Fatalf("who waited: %s", r)
	}
	found := w.gpus(t, "gpu1")
	if n := strings.Count(found.holders(), "ada/second"); n != 2 || len(found.Queue) != 0 {
		t.Errorf("after the wait: %s, %+v", found.holders(), found.Queue)
	}
	w.must(t, "keyway", "rm", "--yes", "second")
	equal(t, "after all", w.gpus(t, "gpu1").holders(), "- - -")
}

// foreignGPU has a process outside of all workspaces compute on the GPU that is free.
func (w *world) foreignGPU(t *testing.T, smi *lab.FakeSMI) {
	t.Helper()
	text, err := w.GPU.Output("sh", "-c", "sleep infinity >/dev/null 2>&1 & echo $!")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := smi.Compute(map[int]int{2: pid}); err != nil {
		t.Fatal(err)
	}
	holds(t, "a process of its own", w.must(t, "keyway", "gpus", "--on", "gpu1"), fmt.Sprintf("sleep of root (process %d", pid))
	if r := w.do("keyway", "up", "--on", "gpu1", "--image", string(lab.Base), "--name", "none", "--gpus", "1"); r.Code == 0 || !strings.Contains(r.Stderr, fmt.Sprintf("GPU 2 runs sleep (process %d) of root", pid)) {
		t.Errorf("a GPU on which somebody computes: %s", r)
	}
	if _, err := w.GPU.Output("kill", strconv.Itoa(pid)); err != nil {
		t.Fatal(err)
	}
	if err := smi.Compute(nil); err != nil {
		t.Fatal(err)
	}
}

// interruptedWait waits for a GPU, and is interrupted.
func (w *world) interruptedWait(t *testing.T, argv []string) {
	t.Helper()
	cmd := w.command(argv...)
	came, started := make(chan result, 1), make(chan struct{})
	go func() { came <- w.finish(cmd, "", func() { close(started) }) }()
	<-started
	w.await(t, `"workspace":"third"`, "sh", "-c", "keyway gpus --on gpu1 --json | tr -d ' \n'")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if r := <-came; r.Code != 130 {
		t.Errorf("given up: %s", r)
	}
	for _, waiting := range w.gpus(t, "gpu1").Queue {
		if waiting.Workspace == "third" {
			t.Errorf("who has given up waits: %+v", waiting)
		}
	}
}
