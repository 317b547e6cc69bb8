//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"keyway/test/lab"
)

// The round trips of the slow world.
const (
	delayToBastion = 40 * time.Millisecond
	delayBehind    = 2 * time.Millisecond
)

// How much each transfer moves, in MiB: some seconds' worth.
const (
	bulkFast = 512
	bulkSlow = 128
)

// stopwatch is where the hosts that measure have the lab's tool.
const stopwatch = "/tmp/labtool"

// timed runs each command n times, in turns, so that whatever else the machine
// does meets all of them alike, and returns the medians.
func (b *bench) timed(ctx context.Context, h *lab.Host, n int, commands ...[]string) ([]time.Duration, error) {
	all := make([][]time.Duration, len(commands))
	for range n {
		for i, c := range commands {
			d, err := b.once(h, c)
			if err != nil {
				return nil, err
			}
			all[i] = append(all[i], d)
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
	}
	medians := make([]time.Duration, len(commands))
	for i := range all {
		slices.Sort(all[i])
		medians[i] = all[i][len(all[i])/2]
	}
	return medians, nil
}

// once times one command inside the host.
func (b *bench) once(h *lab.Host, command []string) (time.Duration, error) {
	cmd := h.Command(stopwatch, append([]string{"time", "1", "--"}, command...)...)
	cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+b.agent)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, stderr.String())
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(stdout.String()), 10, 64)
	return time.Duration(ns), err
}

// world is what was measured over one kind of line.
type world struct {
	name    string
	connect map[contender]time.Duration // ssh HOST true
	// MiB/s
	down, up, scpDown, scpUp map[contender]float64
}

var connecting = []contender{ours, published, unpublished, warm}
var moving = []contender{ours, published, unpublished}

func (b *bench) measureWorld(ctx context.Context, name string, mib int) (w world, err error) {
	w.name = name
	say("measuring: %s", name)
	if w.connect, err = b.connects(ctx); err != nil {
		return w, err
	}
	size := strconv.Itoa(mib << 20)
	local := "/tmp/random"
	if err := check(b.laptop("sh", "-c", "head -c "+size+" /dev/urandom >"+local)); err != nil {
		return w, err
	}
	for _, c := range moving {
		if err := check(b.laptop("scp", "-q", local, c.host+":/tmp/random")); err != nil {
			return w, err
		}
	}
	for _, m := range []struct {
		result  *map[contender]float64
		command func(contender) []string
	}{
		{&w.down, func(c contender) []string { return []string{"ssh", c.host, "head -c " + size + " /dev/zero"} }},
		{&w.up, func(c contender) []string {
			return []string{"sh", "-c", "head -c " + size + " /dev/zero | ssh " + c.host + " 'cat >/dev/null'"}
		}},
		{&w.scpDown, func(c contender) []string { return []string{"scp", "-q", c.host + ":/tmp/random", "/tmp/back"} }},
		{&w.scpUp, func(c contender) []string { return []string{"scp", "-q", local, c.host + ":/tmp/again"} }},
	} {
		if *m.result, err = b.throughput(ctx, mib, w.connect, m.command); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (b *bench) connects(ctx context.Context) (map[contender]time.Duration, error) {
	if err := check(b.laptop("sh", "-c", "ssh warm true >/dev/null 2>&1 </dev/null")); err != nil {
		return nil, err
	}
	defer func() { _ = check(b.laptop("ssh", "-O", "exit", "warm")) }()
	var commands [][]string
	for _, c := range connecting {
		commands = append(commands, []string{"ssh", c.host, "true"})
	}
	medians, err := b.timed(ctx, b.lab.Laptop, b.runs, commands...)
	return byContender(connecting, medians), err
}

// throughput is the rate of a transfer, less the time that connecting takes: who
// connects faster must not seem to move more.
func (b *bench) throughput(ctx context.Context, mib int, connect map[contender]time.Duration, command func(contender) []string) (map[contender]float64, error) {
	var commands [][]string
	for _, c := range moving {
		commands = append(commands, command(c))
	}
	medians, err := b.timed(ctx, b.lab.Laptop, b.bulk, commands...)
	rates := map[contender]float64{}
	for c, d := range byContender(moving, medians) {
		rates[c] = float64(mib) / (d - connect[c]).Seconds()
	}
	return rates, err
}

func byContender(who []contender, medians []time.Duration) map[contender]time.Duration {
	m := map[contender]time.Duration{}
	for i, d := range medians {
		m[who[i]] = d
	}
	return m
}

// starts compares keyway up with docker run of the same image, on the GPU
// machine itself.
func (b *bench) starts(ctx context.Context) (up, dockerRun time.Duration, err error) {
	say("measuring: keyway up and docker run")
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
	slices.Sort(ups)
	slices.Sort(runs)
	return ups[len(ups)/2], runs[len(runs)/2], nil
}

// guestMemory is the resident memory, in bytes, of all of the guest's processes
// in the only workspace, and their proportional share where pages are shared.
func (b *bench) guestMemory() (rss, pss int64, processes int, err error) {
	for _, pid := range b.lab.GPU.ProcessesInside("keyway-guest") {
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

// releaseSizes are the sizes in bytes of the programs as a release has them: a
// keyway that carries nodes and guests for two architectures.
func releaseSizes(ctx context.Context) (keyway, guest int64, err error) {
	platform := "linux-" + runtime.GOARCH
	root, err := lab.Make(ctx, "release-"+platform)
	if err != nil {
		return 0, 0, err
	}
	k, err1 := os.Stat(filepath.Join(root, "dist", "keyway-"+platform))
	g, err2 := os.Stat(filepath.Join(root, "dist", "guest-"+platform))
	if err := errors.Join(err1, err2); err != nil {
		return 0, 0, err
	}
	return k.Size(), g.Size(), nil
}
