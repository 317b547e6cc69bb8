package main

import (
	"strings"
	"testing"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/laptop"
)

func TestGPUText(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	listings := []laptop.GPUListing{{Place: "gpu1", GPUReport: keyway.GPUReport{
		GPUs: []keyway.GPU{
			{Index: "0", UUID: "GPU-0", Model: "NVIDIA H200", Memory: 141 << 30, Used: 70 << 30, Load: 98,
				Holder:    &keyway.GPUHolder{Owner: "ada", Workspace: "train", Engine: "docker"},
				Processes: []keyway.GPUProcess{{PID: 10, Command: "python3", Owner: "ada", Compute: true, Workspace: "train"}}},
			{Index: "1", UUID: "GPU-1", Model: "NVIDIA H200", Memory: 141 << 30, Used: 1 << 30, Load: 0,
				Processes: []keyway.GPUProcess{{PID: 11, Command: "julia", Owner: "bob", Memory: 1 << 30, Compute: true}, {PID: 12, Command: "Xorg", Owner: "root"}}},
			{Index: "2:0", UUID: "MIG-2", Model: "NVIDIA H200\x1b[31m\nfree", Memory: -1, Used: -1, Load: -1},
			{Index: "3", Model: "Unknown Error", Memory: -1, Used: -1, Load: -1},
			{Index: "4", UUID: "GPU-4", Model: "NVIDIA H200", Memory: 1 << 30, Holder: &keyway.GPUHolder{Owner: "eve", Workspace: "new", Engine: "host", Starting: true}},
			{Index: "5", UUID: "GPU-5", Model: "NVIDIA H200", Memory: 141 << 30, Used: 3 << 30, Processes: []keyway.GPUProcess{{Memory: 3 << 30, Compute: true}}},
		},
		Queue: []keyway.GPUWaiter{{Owner: "carol", Workspace: "later", GPUs: "2", Since: now.Add(-90 * time.Second)}},
	}}, {Place: "cpu1"}}
	text := gpuText(listings, 0, now)
	for _, want := range []string{
		"gpu1   0    NVIDIA H200 ", "70.0 / 141.0 GiB", "98 %", "train of ada (docker)\n", "julia of bob (process 11, 1.0 GiB)\n",
		"the driver cannot reach it", "new of eve (host), starting", "2:0", "later", "carol", "cpu1 has no NVIDIA GPU\n", "programs that the driver does not name (3.0 GiB)\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "Xorg") || strings.ContainsAny(text, "\x1b") || strings.Count(text, "\n") != 11 {
		t.Errorf("it says\n%s", text)
	}
}
