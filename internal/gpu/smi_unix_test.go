//go:build unix

package gpu

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keyway/internal/keyway"
)

// standIn returns a program that stands in for nvidia-smi.
func standIn(t *testing.T, script string, timeout time.Duration) smi {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nvidia-smi")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return smi{path, timeout}
}

func TestSMI(t *testing.T) {
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	replay := func(name string, status int) string {
		return fmt.Sprintf("case $* in -L) cat %s/v12-a100-mig-535-list.txt;; *) cat %[1]s/%s; exit %d;; esac\n", dir, name, status)
	}
	for name, c := range map[string]struct {
		script string
		gpus   int
		words  string // of the refusal; empty: none
	}{
		"eight GPUs":      {replay("v12-h100-550.xml", 0), 8, ""},
		"a divided one":   {replay("v12-a100-mig-535.xml", 0), 4, ""},
		"no driver":       {replay("no-driver.txt", 9), 0, "modprobe nvidia"},
		"driver mismatch": {replay("mismatch.txt", 18), 0, "reboot"},
		"no devices":      {replay("no-devices.txt", 6), 0, "No devices were found"},
		"silent failure":  {"exit 3\n", 0, "exit status 3"},
		"garbage":         {"echo garbage\n", 0, "cannot be read"},
		"two lines":       {"echo first; echo second; exit 3\n", 0, "says: first; second"},
		"a power cable":   {replay("v12-h100-550.xml", 8), 8, ""},
		"an interrupt":    {replay("v12-h100-550.xml", 10), 8, ""},
		"a bad infoROM":   {strings.Replace(replay("v12-h100-550.xml", 14), "exit", "echo 'WARNING: infoROM is corrupted at gpu 0000:01:00.0'; exit", 1), 8, ""},
		"and -L":          {strings.Replace(replay("v12-a100-mig-535.xml", 14), "list.txt;;", "list.txt; exit 14;;", 1), 4, ""},
		"a warning alone": {"echo 'WARNING: infoROM is corrupted'; exit 14\n", 0, "says: WARNING: infoROM is corrupted"},
		"a warning first": {"echo 'WARNING: infoROM is corrupted at gpu 0000:01:00.0'\n" + replay("v12-h100-550.xml", 14), 8, ""},
		"a lost GPU":      {replay("v12-h100-550.xml", 15), 0, "cannot be listed"},
		"too much":        {"exec head -c 40000000 /dev/zero\n", 0, "over"},
	} {
		t.Run(name, func(t *testing.T) {
			inv, err := standIn(t, c.script, time.Minute).inventory(context.Background())
			if c.words == "" {
				if err != nil || len(inv.reachable()) != c.gpus {
					t.Errorf("%d GPUs, %v", len(inv.reachable()), err)
				}
				return
			}
			if !keyway.Is(err, keyway.NoGPU) || !strings.Contains(err.Error()+keyway.AsError(err).Help(), c.words) {
				t.Errorf("it says %v (%s)", err, keyway.AsError(err).Help())
			}
		})
	}
}

// TestSMIHangs checks an nvidia-smi that never ends, itself or a process that it has started.
func TestSMIHangs(t *testing.T) {
	for name, script := range map[string]string{"it": "exec sleep 600\n", "its child": "sleep 20 &\nwait\n", "its child, alone": "sleep 20 &\n"} {
		s := standIn(t, script, 200*time.Millisecond)
		_, err := s.inventory(context.Background())
		if !keyway.Is(err, keyway.NoGPU) || keyway.AsError(err).Help() == "" {
			t.Errorf("%s hangs: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := standIn(t, "exec sleep 600\n", time.Minute).inventory(ctx); err != context.Canceled {
		t.Errorf("given up: %v", err)
	}
}

func TestNoSMI(t *testing.T) {
	_, err := smi{"/no/such/nvidia-smi", time.Minute}.inventory(context.Background())
	if !IsAbsent(err) {
		t.Error(err)
	}
	report, err := At(filepath.Join(t.TempDir(), "leases"), "/no/such/nvidia-smi", time.Minute).Report(context.Background(), nil)
	if err != nil || report.GPUs == nil || len(report.GPUs) != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}
