//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"keyway/internal/keyway"
	"keyway/test/lab"
)

var startSection = section{
	name:  "start",
	title: "Starting, and memory",
	lab:   true,
	measure: func(ctx context.Context, b *bench) (string, error) {
		rss, pss, processes, err := b.guestMemory()
		if err != nil {
			return "", err
		}
		up, dockerRun, err := b.starts(ctx)
		if err != nil {
			return "", err
		}
		var t targets
		more := up - dockerRun
		t.add(fmt.Sprintf("`keyway up` of a present image ≤ `docker run -d` on the GPU machine itself (%d ms) + %d ms", dockerRun.Milliseconds(), targetUp.Milliseconds()),
			fmt.Sprintf("%d ms (%+d ms)", up.Milliseconds(), more.Milliseconds()), more <= targetUp)
		t.add(fmt.Sprintf("guest idle ≤ %d MB resident (%d processes; shared pages counted once: %.1f MB)", targetMemory/1_000_000, processes, mb(pss)),
			fmt.Sprintf("%.1f MB", mb(rss)), rss <= targetMemory)
		return t.String(), nil
	},
}

var sizeSection = section{
	name:  "size",
	title: "The programs",
	measure: func(ctx context.Context, b *bench) (string, error) {
		var t targets
		if err := releaseSizes(ctx, &t); err != nil {
			return "", err
		}
		return t.String(), nil
	},
}

// The targets: time, and bytes.
const (
	targetUp     = 150 * time.Millisecond // more than docker run
	targetMemory = 12_000_000
)

// starts compares keyway up with docker run of the same image, on the GPU
// machine itself.
func (b *bench) starts(ctx context.Context) (up, dockerRun time.Duration, err error) {
	var ups, runs []time.Duration
	for i := range b.bulk {
		name := "start" + strconv.Itoa(i)
		r, err := b.once(b.lab.GPU, []string{"docker", "run", "-d", "--name", "plain-" + name, string(lab.Base), "sleep", "infinity"})
		if err != nil {
			return 0, 0, err
		}
		u, err := b.once(b.lab.Laptop, []string{"keyway", "up", "--on", "gpu1", "--image", string(lab.Base), "--name", name})
		if err != nil {
			return 0, 0, err
		}
		ups, runs = append(ups, u), append(runs, r)
		_, rmErr := b.lab.Docker("rm", "-f", "plain-"+name)
		if err := errors.Join(rmErr, check(b.laptop("keyway", "rm", name)), ctx.Err()); err != nil {
			return 0, 0, err
		}
	}
	return median(ups), median(runs), nil
}

// guestRest is the time after which a guest that is left alone counts as idle: the link's spare
// stream to it has ended by then.
const guestRest = 75 * time.Second

// guestMemory returns the resident memory, in bytes, of all processes of the guest in the idle
// workspace, and their proportional share of shared pages.
func (b *bench) guestMemory() (rss, pss int64, processes int, err error) {
	time.Sleep(guestRest)
	first, err := b.lab.Docker("inspect", "-f", "{{.State.Pid}}", "keyway-0-"+ours.host)
	if err != nil {
		return 0, 0, 0, err
	}
	guests := b.lab.GPU.ProcessesInside(keyway.GuestProgram)
	space := ""
	for _, pid := range guests {
		if status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); strings.Contains(string(status), "\t"+strings.TrimSpace(first)+"\t1\n") {
			space = pidNamespace(pid)
		}
	}
	for _, pid := range guests {
		if space == "" || pidNamespace(pid) != space {
			continue
		}
		r, err1 := procField(pid, "status", "VmRSS")
		p, err2 := procField(pid, "smaps_rollup", "Pss")
		if err := errors.Join(err1, err2); err != nil {
			return 0, 0, 0, err
		}
		rss, pss, processes = rss+r, pss+p, processes+1
	}
	if processes == 0 {
		return 0, 0, 0, errors.New("no guest runs")
	}
	return rss, pss, processes, nil
}

// pidNamespace names the PID namespace that a process is in; empty if that is not known.
func pidNamespace(pid int) string {
	name, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	return name
}

func procField(pid int, file, field string) (int64, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
	if err != nil {
		return 0, err
	}
	m := regexp.MustCompile(`(?m)^` + field + `:\s+(\d+) kB`).FindSubmatch(data)
	if m == nil {
		return 0, fmt.Errorf("no %s in /proc/%d/%s", field, pid, file)
	}
	kib, err := strconv.ParseInt(string(m[1]), 10, 64)
	return kib << 10, err
}

// releaseSizes compares the programs of a release with their limits in the Makefile.
func releaseSizes(ctx context.Context, t *targets) error {
	platform := "linux-" + runtime.GOARCH
	root, err := lab.Make(ctx, "release-"+platform)
	if err != nil {
		return err
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return err
	}
	for _, p := range []struct{ program, file, limit string }{
		{"keyway", "keyway", "MAX_KEYWAY"},
		{"keyway-node", "node", "MAX_NODE"},
		{"keyway-guest", "guest", "MAX_GUEST"},
		{"keyway-jupyter", "jupyter", "MAX_JUPYTER"},
	} {
		m := regexp.MustCompile(`(?m)^` + p.limit + `\s*=\s*(\d+)$`).FindSubmatch(makefile)
		if m == nil {
			return fmt.Errorf("the Makefile has no %s", p.limit)
		}
		limit, err1 := strconv.ParseInt(string(m[1]), 10, 64)
		info, err2 := os.Stat(filepath.Join(root, "dist", p.file+"-"+platform))
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		t.add(fmt.Sprintf("`%s` ≤ %.1f MB", p.program, mb(limit)), fmt.Sprintf("%.2f MB", mb(info.Size())), info.Size() <= limit)
	}
	return nil
}
