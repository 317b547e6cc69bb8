//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"keyway/internal/template"
	"keyway/internal/template/compose"
	"keyway/test/lab"
)

var templateSection = section{
	name:  "template",
	title: "Templates, GPUs and images",
	measure: func(ctx context.Context, b *bench) (string, error) {
		w := &templateBench{bench: &bench{runs: b.runs, bulk: b.bulk}}
		defer w.close()
		if err := w.prepare(ctx); err != nil {
			return "", err
		}
		for _, measure := range []func(context.Context) error{w.ups, w.resolves, w.check, w.listings, w.copies, w.drifts} {
			if err := measure(ctx); err != nil {
				return "", err
			}
		}
		return w.notes.String() + "\n" + w.targets.String(), nil
	},
}

// The targets.
const (
	targetTemplateUp = 150 * time.Millisecond // more than docker run and nvidia-smi
	targetResolve    = 30 * time.Millisecond
	targetGPUs       = 20 * time.Millisecond // more than nvidia-smi
	targetCheck      = time.Second           // more than nvidia-smi
	targetCopy       = 0.9                   // of scp's rate
	targetNode       = 64 << 20              // bytes resident
	targetDrift      = time.Second
)

const (
	listedGPUs      = 8
	listedProcesses = 64
	driftWorkspaces = 100
	copiedMiB       = 192
)

// templateBench measures in a lab of its own, whose GPU machine has stand-ins for GPUs.
type templateBench struct {
	*bench
	smi     *lab.FakeSMI
	targets targets
	notes   strings.Builder
}

// projectFile has a template with a GPU, and one that many workspaces use.
const projectFile = `services:
  one:
    image: keyway-lab/base
    gpus: [{count: 1}]
    volumes: ["/srv/data:/mnt/data:ro"]
    environment: {SEED: "17"}
    shm_size: 64mb
  small:
    image: keyway-lab/busybox
    environment: {SEED: "17"}
`

const (
	realSMI  = "/usr/local/bin/nvidia-smi.lab"
	smiCalls = "/tmp/nvidia-smi.calls"
)

// countedSMI is the stand-in for nvidia-smi with a line in a file for each call.
const countedSMI = "#!/bin/sh\necho >>" + smiCalls + "\nexec " + realSMI + " \"$@\"\n"

func (w *templateBench) prepare(ctx context.Context) error {
	if err := w.startLab(ctx, lab.Base, lab.Busybox); err != nil {
		return err
	}
	gpu := w.lab.GPU
	smi, err := w.lab.AddGPUs(listedGPUs)
	if err != nil {
		return err
	}
	w.smi = smi
	if err := os.Rename(smi.Program, gpu.Path(realSMI)); err != nil {
		return err
	}
	err = errors.Join(
		gpu.WriteFile("/usr/local/bin/nvidia-smi", countedSMI, 0o755),
		gpu.WriteFile("/srv/data/set", "data", 0o644),
		w.lab.Laptop.WriteFile("/root/project/keyway.yaml", projectFile, 0o644))
	if err != nil {
		return err
	}
	for _, args := range [][]string{{"keyway", "init", "--yes"}, {"keyway", "unlock"}, {"keyway", "gpus", "--on", "gpu1"}} {
		if err := check(w.laptop(args[0], args[1:]...)); err != nil {
			return err
		}
	}
	fmt.Fprintf(&w.notes, "The GPU machine has stand-ins for %d GPUs and for `nvidia-smi`, which here answers at once.\n", listedGPUs)
	return nil
}

// inProject returns a command in the directory of the templates.
func inProject(argv ...string) []string {
	return append([]string{"env", "-C", "/root/project"}, argv...)
}

// calls counts the calls of nvidia-smi since it was last asked.
func (w *templateBench) calls() int {
	text, _ := w.lab.GPU.ReadFile(smiCalls)
	_ = os.Remove(w.lab.GPU.Path(smiCalls))
	return strings.Count(text, "\n")
}

// beyond times a command on the laptop in turns with nvidia-smi, and returns what it
// takes beyond its own calls of that.
func (w *templateBench) beyond(ctx context.Context, argv ...string) (more time.Duration, calls int, err error) {
	var commands, smis []time.Duration
	for range w.runs {
		smi, err1 := w.once(w.lab.GPU, []string{"nvidia-smi", "-q", "-x"})
		w.calls()
		command, err2 := w.once(w.lab.Laptop, argv)
		calls = w.calls()
		if err := errors.Join(err1, err2, ctx.Err()); err != nil {
			return 0, 0, err
		}
		smis, commands = append(smis, smi), append(commands, command)
	}
	return median(commands) - time.Duration(calls)*median(smis), calls, nil
}

// ups compares keyway up with docker run of the same image with a GPU.
func (w *templateBench) ups(ctx context.Context) error {
	var ups, runs, smis []time.Duration
	var calls int
	for i := range w.runs {
		name := "up" + strconv.Itoa(i)
		run, err1 := w.once(w.lab.GPU, []string{"docker", "run", "-d", "--name", "plain", "--gpus", "device=" + lab.LabGPU(0),
			"-v", "/srv/data:/mnt/data:ro", "-e", "SEED=17", "--shm-size", "64m", string(lab.Base), "sleep", "infinity"})
		_, err2 := w.lab.Docker("rm", "-f", "plain")
		smi, err3 := w.once(w.lab.GPU, []string{"nvidia-smi", "-q", "-x"})
		w.calls()
		up, err4 := w.once(w.lab.Laptop, inProject("keyway", "up", "one", "--on", "gpu1", "--name", name))
		calls = w.calls()
		if err := errors.Join(err1, err2, err3, err4, ctx.Err()); err != nil {
			return err
		}
		if err := check(w.laptop("keyway", "rm", "--yes", name)); err != nil {
			return err
		}
		ups, runs, smis = append(ups, up), append(runs, run), append(smis, smi)
	}
	more := median(ups) - median(runs) - time.Duration(calls)*median(smis)
	w.targets.add(fmt.Sprintf("`keyway up TEMPLATE` with a GPU, of a present image ≤ `docker run -d --gpus` on the GPU machine itself (%d ms) + %d ms, beyond its %d calls of `nvidia-smi`",
		median(runs).Milliseconds(), targetTemplateUp.Milliseconds(), calls), fmt.Sprintf("%+d ms", more.Milliseconds()), more <= targetTemplateUp)
	return nil
}

// resolves measures the time from a template's file to the request to a place.
func (w *templateBench) resolves(context.Context) error {
	dir := w.lab.Laptop.Path("/root/project")
	times := make([]time.Duration, w.runs)
	for i := range times {
		began := time.Now()
		found, err := template.Finder{Dir: dir, Home: filepath.Dir(dir)}.Find("one")
		if err == nil {
			_, err = found.Resolve(compose.Where{Lookup: os.LookupEnv})
		}
		if err != nil {
			return err
		}
		times[i] = time.Since(began)
	}
	took := median(times)
	w.targets.add(fmt.Sprintf("a template found and resolved ≤ %d ms", targetResolve.Milliseconds()), fmt.Sprintf("%.1f ms", 1000*took.Seconds()), took <= targetResolve)
	return nil
}

func (w *templateBench) check(ctx context.Context) error {
	more, calls, err := w.beyond(ctx, inProject("keyway", "check", "one", "--on", "gpu1")...)
	if err != nil {
		return err
	}
	w.targets.add(fmt.Sprintf("`keyway check` of a present image, which asks no registry ≤ %d s beyond its %d calls of `nvidia-smi`", targetCheck/time.Second, calls),
		fmt.Sprintf("%d ms", more.Milliseconds()), more <= targetCheck)
	return nil
}

// listings times keyway gpus while many processes compute.
func (w *templateBench) listings(ctx context.Context) error {
	text, err := w.lab.GPU.Output("sh", "-c", fmt.Sprintf("for i in $(seq %d); do sleep infinity >/dev/null 2>&1 & echo $!; done", listedProcesses))
	if err != nil {
		return err
	}
	pids := map[int][]int{}
	for i, word := range strings.Fields(text) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return err
		}
		pids[i%listedGPUs] = append(pids[i%listedGPUs], pid)
	}
	if err := w.smi.ComputeMany(pids); err != nil {
		return err
	}
	more, calls, err := w.beyond(ctx, "keyway", "gpus", "--on", "gpu1")
	if err != nil {
		return err
	}
	bare, err := w.timed(ctx, w.lab.Laptop, w.runs, []string{"keyway", "--version"})
	if err != nil {
		return err
	}
	w.targets.add(fmt.Sprintf("`keyway gpus` of %d GPUs with %d processes, over ssh ≤ %d ms beyond its %d calls of `nvidia-smi` (`keyway --version` takes %d ms)",
		listedGPUs, listedProcesses, targetGPUs.Milliseconds(), calls, bare[0].Milliseconds()), fmt.Sprintf("%d ms", more.Milliseconds()), more <= targetGPUs)
	return w.smi.Compute(nil)
}

// drifts compares many workspaces of one template with its lock.
func (w *templateBench) drifts(ctx context.Context) error {
	say("starting %d workspaces", driftWorkspaces)
	for i := range driftWorkspaces {
		cmd := inProject("keyway", "up", "small", "--on", "gpu1", "--name", "small"+strconv.Itoa(i))
		if err := errors.Join(check(w.laptop(cmd[0], cmd[1:]...)), ctx.Err()); err != nil {
			return err
		}
	}
	pin := inProject("keyway", "pin", "small", "--from", "small0")
	if err := check(w.laptop(pin[0], pin[1:]...)); err != nil {
		return err
	}
	compare := inProject("keyway", "drift", "small", "--ignore", "tag")
	first, err := w.once(w.lab.Laptop, compare)
	if err != nil {
		return err
	}
	warm, err := w.timed(ctx, w.lab.Laptop, w.bulk, compare)
	if err != nil {
		return err
	}
	w.targets.add(fmt.Sprintf("`keyway drift` over %d workspaces at one place ≤ %d s warm (the first time: %.2f s)", driftWorkspaces, targetDrift/time.Second, first.Seconds()),
		fmt.Sprintf("%.2f s", warm[0].Seconds()), warm[0] <= targetDrift)
	return nil
}
