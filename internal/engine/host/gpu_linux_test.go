package host_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keyway/internal/engine/enginetest"
	"keyway/internal/engine/host"
	"keyway/internal/gpu"
	"keyway/internal/keyway"
	"keyway/test/lab"
)

// TestGPUs checks the lending of GPUs with substitutes for GPUs. Two engines with different roots
// are two owners: neither sees the workspaces of the other.
func TestGPUs(t *testing.T) {
	smi, err := lab.NewFakeSMI(t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	place := gpu.At(filepath.Join(t.TempDir(), "leases"), smi.Program, time.Minute)
	mine, _ := subject(t, host.GPUsFrom(place))
	other, _ := subject(t, host.GPUsFrom(place))
	enginetest.GPUs(t, mine, enginetest.GPULab{
		UUIDs: []string{lab.LabGPU(0), lab.LabGPU(1), lab.LabGPU(2)}, Other: other,
		See: func(t testing.TB, s enginetest.Subject, w keyway.Workspace) []string {
			ids := strings.Split(s.Run(t, w, "env CUDA_VISIBLE_DEVICES"), ",")
			slices.Sort(ids)
			return ids
		},
		Compute: func(t testing.TB, pids map[int]int) {
			if err := smi.Compute(pids); err != nil {
				t.Fatal(err)
			}
		},
	})
}
