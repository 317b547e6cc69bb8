//go:build unix

package gpu

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// TestToldByName checks a workspace that keyway has not given its GPUs, such as an adopted
// container: its engine reports the requested GPUs, in each form. keyway's own leases take
// precedence.
func TestToldByName(t *testing.T) {
	devices := []Device{{Index: "0", UUID: "GPU-0", Minor: 3}, {Index: "1:0", UUID: "MIG-1", Minor: -1}, {Index: "2", UUID: "GPU-2", Minor: 0}, {Index: "3"}}
	lent := Holding{Holder: Holder{Workspace: "lent"}, UUIDs: []string{"GPU-2"}}
	for name, c := range map[string]struct {
		asked keyway.GPUs
		want  string
	}{
		"none":            {keyway.GPUs{}, "- - lent"},
		"all":             {keyway.GPUs{All: true}, "a a lent"},
		"the first one":   {keyway.GPUs{Count: 1}, "a - lent"},
		"by index":        {keyway.GPUs{IDs: []string{"0"}}, "a - lent"},
		"a part":          {keyway.GPUs{IDs: []string{"1:0"}}, "- a lent"},
		"by UUID":         {keyway.GPUs{IDs: []string{"MIG-1", "GPU-9"}}, "- a lent"},
		"by device file":  {keyway.GPUs{IDs: []string{"/dev/nvidia3"}}, "a - lent"},
		"of no such file": {keyway.GPUs{IDs: []string{"/dev/nvidia-1", ""}}, "- - lent"},
	} {
		place := (&maker{world: newWorld(t, 1, 1)}).place()
		adopted := Holding{Holder: Holder{Workspace: "a"}, Asked: c.asked}
		for _, told := range [][]Holding{{adopted, lent}, {lent, adopted}} {
			held, err := place.holders(devices, told)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, d := range devices[:3] {
				if h := held[d.UUID]; h != nil {
					got += " " + string(h.Workspace)
				} else {
					got += " -"
				}
			}
			if got != " "+c.want {
				t.Errorf("%s:%s, want %s", name, got, c.want)
			}
		}
	}
}

// TestClaim checks that a workspace that has GPUs already is their holder for every user as long as
// its process lives, and takes none from others.
func TestClaim(t *testing.T) {
	w := newWorld(t, 3, 1)
	place := (&maker{world: w}).place()
	first, err := place.Take(t.Context(), Request{Holder: Holder{Owner: "p1", Workspace: "first"}, GPUs: keyway.GPUs{IDs: []string{"0"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Bind(w.spawn()); err != nil {
		t.Fatal(err)
	}
	first.Close()
	guest := w.spawn()
	if err := place.Claim(t.Context(), Holder{Owner: "p2", Workspace: "adopted"}, keyway.GPUs{Count: 2}, guest); err != nil {
		t.Fatal(err)
	}
	holders := func() (names []string) {
		report, err := place.Report(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range report.GPUs {
			names = append(names, "-")
			if g.Holder != nil {
				names[len(names)-1] = string(g.Holder.Workspace)
			}
		}
		return names
	}
	if got := fmt.Sprint(holders()); got != "[first adopted -]" {
		t.Errorf("held by %s", got)
	}
	if _, err := place.Take(t.Context(), Request{Holder: Holder{Owner: "p3"}, GPUs: keyway.GPUs{Count: 2}}, nil); !keyway.Is(err, keyway.NoGPU) || !strings.Contains(err.Error(), "adopted") {
		t.Errorf("two of one that is free: %v", err)
	}
	w.end(guest)
	if got := fmt.Sprint(holders()); got != "[first - -]" {
		t.Errorf("after its end held by %s", got)
	}
	if err := place.Claim(t.Context(), Holder{Owner: "p2", Workspace: "late"}, keyway.GPUs{All: true}, guest); err == nil {
		t.Error("a process that has ended claims GPUs")
	}
}

// TestProgramsWithoutAName checks that a GPU that is not lent because of such programs is not
// reported as free.
func TestProgramsWithoutAName(t *testing.T) {
	place := (&maker{world: newWorld(t, 1, 1)}).place()
	used := Device{Index: "0", UUID: "GPU-0", Unseen: true, Used: 3 << 30}
	for _, told := range [][]Holding{nil, {{Holder: Holder{Workspace: "first"}, UUIDs: []string{"GPU-0"}}}} {
		held, err := place.holders([]Device{used}, told)
		if err != nil {
			t.Fatal(err)
		}
		g := place.describe(used, held["GPU-0"], accounts{})
		if lent := told != nil; lent != (g.Holder != nil) || lent == (len(g.Processes) == 1 && g.Processes[0].Compute && g.Processes[0].Memory == used.Used) {
			t.Errorf("lent %t: %+v", lent, g)
		}
	}
}

// manyProcesses are processes of a few users.
type manyProcesses struct{ worldProcs }

func (manyProcesses) owner(pid int) (int, bool) { return 70000 + pid%2, true }

// TestUsersAreLookedUpOnce checks that each user is looked up once, because a lookup in a directory
// runs a program, which takes longer than everything else.
func TestUsersAreLookedUpOnce(t *testing.T) {
	asked := countLookups(t)
	place := (&maker{world: newWorld(t, 1, 1)}).place()
	place.procs = manyProcesses{}
	place.ask = func(context.Context) (Inventory, error) {
		var inv Inventory
		for i := range 8 {
			d := Device{Index: fmt.Sprint(i), UUID: fmt.Sprintf("GPU-%d", i)}
			for n := range 8 {
				d.Processes = append(d.Processes, Process{PID: 100*i + n + 1, Compute: true})
			}
			inv.Devices = append(inv.Devices, d)
		}
		return inv, nil
	}
	report, err := place.Report(t.Context(), nil)
	if err != nil || len(report.GPUs) != 8 {
		t.Fatalf("%d GPUs, %v", len(report.GPUs), err)
	}
	for _, g := range report.GPUs {
		for _, p := range g.Processes {
			if want := fmt.Sprintf("user%d", 70000+p.PID%2); p.Owner != want {
				t.Errorf("process %d is of %s, want %s", p.PID, p.Owner, want)
			}
		}
	}
	if n := asked(); n != 2 {
		t.Errorf("the directory was asked %d times for two users", n)
	}
}

// countLookups puts a getent first on PATH, and returns a function that counts its calls.
func countLookups(t *testing.T) func() int {
	t.Helper()
	dir := t.TempDir()
	calls := filepath.Join(dir, "calls")
	script := "#!/bin/sh\necho >>" + calls + "\necho \"user$2:x:$2:1::/:/bin/sh\"\n"
	if err := os.WriteFile(filepath.Join(dir, "getent"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() int {
		text, err := os.ReadFile(calls)
		if err != nil {
			t.Fatal(err)
		}
		return len(text)
	}
}
