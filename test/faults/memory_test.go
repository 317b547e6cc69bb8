//go:build linux

package faults

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"keyway/test/lab"
)

// slowReaders is the number of slow readers. Without a bound, each would cost the 30 MB that are on
// their way to it.
const slowReaders = 12

// The bound on the memory, in bytes, that one connection may cost link and guest. While the reader
// stands still, it covers the window, the bytes that are written ahead and SSH's own buffers; while
// the guest itself stands still, a whole ring.
const (
	stillReader = 3 << 20
	stillGuest  = 8<<20 + stillReader
)

// TestSlowReader stops many ssh processes while a guest sends them as much as it can, and then
// stops the guest while many clients send to it. It checks that the link and the guest hold no more
// than their bounds, and that nothing is missing when the stopped processes continue.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{})
	w.must("ssh", train, "true")
	t.Run("down", func(t *testing.T) {
		w.freeze(t, "seq 4000000", "", w.readers, stillReader)
	})
	t.Run("up", func(t *testing.T) {
		w.freeze(t, "cat", "seq 4000000 |", w.guests, stillGuest)
	})
}

// freeze stops the victims while connections are busy, watches the memory, and continues them.
func (w *world) freeze(t *testing.T, remote, feed string, victims func() []int, most int64) {
	before := w.resident(t)
	script := fmt.Sprintf(`%s ssh train %q | sha256sum`, feed, remote)
	want := w.must("sh", "-c", "seq 4000000 | sha256sum")
	var all []*exec.Cmd
	var outs []*bytes.Buffer
	for range slowReaders {
		cmd, out := w.command("sh", "-c", script), new(bytes.Buffer)
		cmd.Stdout, cmd.Stderr = out, out
		must(t, cmd.Start())
		all, outs = append(all, cmd), append(outs, out)
	}
	floor := w.moved()
	w.await("all are busy", func() bool { return len(w.readers()) >= slowReaders && w.moved() > floor+slowReaders<<16 })
	stopped := victims()
	must(t, lab.Kill(syscall.SIGSTOP, stopped...))
	thaw := func() error { return lab.Kill(syscall.SIGCONT, stopped...) }
	defer thaw() // whatever happens
	for still, last := 0, int64(-1); still < 10; time.Sleep(200 * time.Millisecond) {
		now := w.moved()
		if still++; now != last {
			still, last = 0, now
		}
	}
	for who, now := range w.resident(t) {
		grown := now - before[who]
		t.Logf("%s: %d KiB before, %d KiB more with %d that stand still", who, before[who]>>10, grown>>10, slowReaders)
		if grown > slowReaders*most {
			t.Errorf("%s holds %d KiB more", who, grown>>10)
		}
	}
	must(t, thaw())
	for i, cmd := range all {
		timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err != nil || outs[i].String() != want {
			t.Errorf("%v: %q, want %q", err, outs[i].String(), want)
		}
	}
}

// readers returns the users' ssh processes.
func (w *world) readers() []int {
	var pids []int
	for _, pid := range w.Laptop.Processes("ssh") {
		if line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline")); err == nil && bytes.Contains(line, []byte("\x00train\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// guests returns the guest's processes.
func (w *world) guests() []int { return w.GPU.ProcessesInside("keyway-guest") }

// resident returns the memory of link and guest in bytes.
func (w *world) resident(t *testing.T) map[string]int64 {
	t.Helper()
	used := map[string]int64{}
	for who, pids := range map[string][]int{"link": w.Laptop.Links(), "guest": w.guests()} {
		for _, pid := range pids {
			text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
			must(t, err)
			found := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(text)
			if found == nil {
				t.Fatalf("process %d says nothing of its memory", pid)
			}
			kib, err := strconv.ParseInt(string(found[1]), 10, 64)
			must(t, err)
			used[who] += kib << 10
		}
	}
	return used
}
