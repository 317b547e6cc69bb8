//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"keyway/internal/keyway"
)

// report is all that one run has found out.
type report struct {
	worlds              []world
	up, dockerRun       time.Duration
	rss, pss            int64
	processes           int
	sizeKeyway, sizeRun int64
	runs, bulk          int
}

// The targets.
const (
	targetConnect    = 0.65 // of ssh -J bastion
	targetThroughput = 0.9  // of ssh -J bastion,gpu1
	targetUp         = 150 * time.Millisecond
	targetMemory     = 12_000_000
	targetKeyway     = 30_000_000
	targetGuest      = 6_000_000
)

func (b *bench) measure(ctx context.Context) (*report, error) {
	r := &report{runs: b.runs, bulk: b.bulk}
	var err error
	if r.rss, r.pss, r.processes, err = b.guestMemory(); err != nil {
		return nil, err
	}
	fast, err := b.measureWorld(ctx, "no delay", bulkFast)
	if err != nil {
		return nil, err
	}
	if r.up, r.dockerRun, err = b.starts(ctx); err != nil {
		return nil, err
	}
	remove, err := b.delay()
	if err != nil {
		return nil, err
	}
	slow, err := b.measureWorld(ctx, fmt.Sprintf("%d ms to the bastion, %d ms behind it", delayToBastion.Milliseconds(), delayBehind.Milliseconds()), bulkSlow)
	if err := errors.Join(err, remove()); err != nil {
		return nil, err
	}
	r.worlds = []world{slow, fast}
	r.sizeKeyway, r.sizeRun, err = releaseSizes(ctx)
	return r, err
}

func (r *report) markdown(now time.Time) string {
	var s strings.Builder
	fmt.Fprintf(&s, "`make bench`, %s, %s, %d CPUs, Linux %s, %s. Medians of %d connections and %d transfers of each kind, taken in turns. ",
		now.UTC().Format("2006-01-02"), cpuModel(), runtime.NumCPU(), firstLine("uname", "-r"), firstLine("ssh", "-V"), r.runs, r.bulk)
	s.WriteString("The round trips are added by a slow line between the hosts that takes time but no bandwidth, under the kernel's own TCP. Rates are without the time that connecting takes.\n")
	for _, w := range r.worlds {
		w.markdown(&s)
	}
	r.starting(&s)
	return s.String()
}

func (w world) markdown(s *strings.Builder) {
	fmt.Fprintf(s, "\n### Round trips: %s\n\n", w.name)
	s.WriteString("| | `HOST true` | of `-J bastion` | ssh down | ssh up | scp down | scp up |\n|---|--:|--:|--:|--:|--:|--:|\n")
	base := w.connect[published]
	for _, c := range connecting {
		fmt.Fprintf(s, "| %s | %d ms | %.2f |", c.what, w.connect[c].Milliseconds(), ratio(w.connect[c], base))
		for _, m := range []map[contender]float64{w.down, w.up, w.scpDown, w.scpUp} {
			if v, ok := m[c]; ok {
				fmt.Fprintf(s, " %.0f MiB/s |", v)
			} else {
				s.WriteString(" – |")
			}
		}
		s.WriteString("\n")
	}
	s.WriteString("\n| target | measured | |\n|---|--:|---|\n")
	row(s, fmt.Sprintf("`ssh train true` with the link up ≤ %.2f of `-J bastion` cold", targetConnect),
		fmt.Sprintf("%.2f", ratio(w.connect[ours], base)), ratio(w.connect[ours], base) <= targetConnect)
	for _, m := range []struct {
		what string
		by   map[contender]float64
	}{{"ssh, guest to laptop", w.down}, {"ssh, laptop to guest", w.up}, {"scp, guest to laptop", w.scpDown}, {"scp, laptop to guest", w.scpUp}} {
		of := m.by[ours] / m.by[unpublished]
		row(s, fmt.Sprintf("%s ≥ %.1f of `-J bastion,gpu1`", m.what, targetThroughput), fmt.Sprintf("%.2f", of), of >= targetThroughput)
	}
}

func (r *report) starting(s *strings.Builder) {
	s.WriteString("\n### Start, memory, size\n\n| target | measured | |\n|---|--:|---|\n")
	more := r.up - r.dockerRun
	row(s, fmt.Sprintf("`keyway up` of a present image ≤ `docker run -d` on the GPU machine itself (%d ms) + %d ms", r.dockerRun.Milliseconds(), targetUp.Milliseconds()),
		fmt.Sprintf("%d ms (%+d ms)", r.up.Milliseconds(), more.Milliseconds()), more <= targetUp)
	row(s, fmt.Sprintf("guest idle ≤ %d MB resident (%d processes; shared pages counted once: %.1f MB)", targetMemory/1_000_000, r.processes, mb(r.pss)),
		fmt.Sprintf("%.1f MB", mb(r.rss)), r.rss <= targetMemory)
	row(s, fmt.Sprintf("`keyway` ≤ %d MB", targetKeyway/1_000_000), fmt.Sprintf("%.1f MB", mb(r.sizeKeyway)), r.sizeKeyway <= targetKeyway)
	row(s, fmt.Sprintf("`keyway-guest` ≤ %d MB", targetGuest/1_000_000), fmt.Sprintf("%.1f MB", mb(r.sizeRun)), r.sizeRun <= targetGuest)
}

func row(s *strings.Builder, target, measured string, hit bool) {
	verdict := "**missed**"
	if hit {
		verdict = "hit"
	}
	fmt.Fprintf(s, "| %s | %s | %s |\n", target, measured, verdict)
}

func ratio(a, b time.Duration) float64 { return a.Seconds() / b.Seconds() }

func mb(bytes int64) float64 { return float64(bytes) / 1_000_000 }

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func firstLine(name string, args ...string) string {
	out, _ := exec.Command(name, args...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

// The table stands between these lines of the file.
const (
	beginMark = "<!-- what make bench has printed; it replaces what is between these two lines -->\n"
	endMark   = "<!-- end of what make bench has printed -->\n"
)

// keep writes the table to its place in the file.
func keep(file, table string) error {
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	before, rest, found := strings.Cut(string(old), beginMark)
	_, after, _ := strings.Cut(rest, endMark)
	if !found {
		before = strings.TrimRight(before, "\n") + "\n\n"
		if strings.TrimSpace(before) == "" {
			before = "# Benchmarks\n\n"
		}
	}
	return keyway.WriteFile(file, []byte(before+beginMark+"\n"+table+"\n"+endMark+after), 0o644)
}
