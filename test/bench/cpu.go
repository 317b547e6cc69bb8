//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"keyway/test/lab"
)

var cpuSection = section{
	name:  "cpu",
	title: "CPU time of a GiB",
	lab:   true,
	measure: func(ctx context.Context, b *bench) (string, error) {
		var s strings.Builder
		fmt.Fprintf(&s, "Seconds of CPU time, user and system, that a GiB through `ssh HOST` takes in all processes of the three machines together, the median of %d, without delay. On a computer that plays all three machines this decides the rate, and unlike the rate it hardly depends on what else the computer does.\n", b.bulk)
		for _, d := range directions(cpuBytes) {
			used := map[contender][]usage{}
			for range b.bulk {
				for _, c := range moving {
					u, err := b.cpuOf(ctx, c, d)
					if err != nil {
						return "", fmt.Errorf("%s, %s: %w", c.host, d.name, err)
					}
					used[c] = append(used[c], u)
				}
			}
			cpuTable(&s, d, used)
		}
		return s.String(), nil
	},
}

// cpuBytes is the number of bytes that are moved to measure the CPU time.
const cpuBytes = 1 << 30

// direction moves bytes one way through an ssh. Its command prints "ready" before the transfer, and
// stays afterwards, so that the CPU time of its processes can be read.
type direction struct {
	name, command string
	move          func(in io.Writer, out io.Reader) error
}

func directions(size int) []direction {
	down := func(in io.Writer, out io.Reader) error {
		_, err := io.WriteString(in, "go\n")
		if err == nil {
			_, err = io.CopyN(io.Discard, out, int64(size))
		}
		return err
	}
	up := func(in io.Writer, out io.Reader) error {
		zeros := make([]byte, 1<<20)
		for left := size; left > 0; left -= len(zeros) {
			if _, err := in.Write(zeros[:min(left, len(zeros))]); err != nil {
				return err
			}
		}
		return expect(out, "done\n")
	}
	return []direction{
		{"guest to laptop", fmt.Sprintf("echo ready; read go; head -c %d /dev/zero; read end", size), down},
		{"laptop to guest", fmt.Sprintf("echo ready; head -c %d >/dev/null; echo done; read end", size), up},
	}
}

func expect(r io.Reader, want string) error {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		return fmt.Errorf("the command says %q, not %q (%w)", got, want, err)
	}
	return nil
}

// usage is CPU time by host and program.
type usage map[string]time.Duration

func (u usage) total() (sum time.Duration) {
	for d := range maps.Values(u) {
		sum += d
	}
	return sum
}

// cpuOf moves cpuBytes through one ssh and returns the CPU time.
func (b *bench) cpuOf(ctx context.Context, c contender, d direction) (u usage, err error) {
	cmd := b.laptop("ssh", c.host, d.command)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()
	defer func() {
		in.Close()
		if waitErr := cmd.Wait(); err == nil && waitErr != nil {
			err = fmt.Errorf("%w: %s", waitErr, stderr.String())
		}
	}()
	if err := expect(out, "ready\n"); err != nil {
		return nil, err
	}
	before := b.cpuTimes()
	if err := d.move(in, out); err != nil {
		return nil, err
	}
	u = usage{}
	for p, used := range b.cpuTimes() {
		if used -= before[p]; used > 0 {
			u[p.host+" "+p.Name] += used
		}
	}
	_, err = io.WriteString(in, "end\n")
	return u, err
}

type hostProcess struct {
	host string
	lab.Process
}

func (b *bench) cpuTimes() map[hostProcess]time.Duration {
	all := map[hostProcess]time.Duration{}
	for _, h := range b.lab.Hosts() {
		for p, used := range h.CPUTimes() {
			all[hostProcess{h.Name, p}] = used
		}
	}
	return all
}

func cpuTable(s *strings.Builder, d direction, used map[contender][]usage) {
	fmt.Fprintf(s, "\n### %s\n\n| | s per GiB | of which |\n|---|--:|---|\n", d.name)
	totals := map[contender]time.Duration{}
	for _, c := range moving {
		all := used[c]
		slices.SortFunc(all, func(x, y usage) int { return int(x.total() - y.total()) })
		middle := all[len(all)/2]
		totals[c] = middle.total()
		var parts []string
		for _, name := range slices.SortedFunc(maps.Keys(middle), func(x, y string) int { return int(middle[y] - middle[x]) }) {
			if middle[name] >= totals[c]/100 {
				parts = append(parts, fmt.Sprintf("%s %.2f", name, middle[name].Seconds()))
			}
		}
		fmt.Fprintf(s, "| %s | %.2f | %s |\n", c.what, totals[c].Seconds(), strings.Join(parts, ", "))
	}
	var t targets
	of := ratio(totals[unpublished], totals[ours])
	t.add(fmt.Sprintf("bytes per CPU second ≥ %.1f of `-J bastion,gpu1`", targetThroughput), fmt.Sprintf("%.2f", of), of >= targetThroughput)
	s.WriteString("\n" + t.String())
}
