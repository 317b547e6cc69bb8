//go:build linux

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

var bulkSection = section{
	name:  "bulk",
	title: "Moving much",
	lab:   true,
	measure: func(ctx context.Context, b *bench) (string, error) {
		var s strings.Builder
		fmt.Fprintf(&s, "The median of %d transfers of each kind, taken in turns, without the time that connecting takes, so that a faster connection does not count as a higher rate.\n", b.bulk)
		for _, l := range lines {
			connect, err := b.connects(ctx, l, b.bulk)
			if err != nil {
				return "", err
			}
			var rates [kinds]map[contender]float64
			if err := b.over(l, func() (err error) { rates, err = b.transfers(ctx, l, connect); return err }); err != nil {
				return "", err
			}
			bulkTable(&s, l, rates)
		}
		return s.String(), nil
	},
}

// targetThroughput is the goal, as a part of the rate of `ssh -J bastion,gpu1`.
const targetThroughput = 0.9

var moving = []contender{ours, published, unpublished}

// kinds is the number of kinds of transfer.
const kinds = 4

var kindNames = [kinds]string{"ssh, guest to laptop", "ssh, laptop to guest", "scp, guest to laptop", "scp, laptop to guest"}

// transfers returns the rates of each kind in MiB/s.
func (b *bench) transfers(ctx context.Context, l line, connect map[contender]time.Duration) (rates [kinds]map[contender]float64, err error) {
	size, local := strconv.Itoa(l.mib<<20), "/tmp/random"
	if err := check(b.laptop("sh", "-c", "head -c "+size+" /dev/urandom >"+local)); err != nil {
		return rates, err
	}
	for _, c := range moving {
		if err := check(b.laptop("scp", "-q", local, c.host+":/tmp/random")); err != nil {
			return rates, err
		}
	}
	for i, command := range [kinds]func(contender) []string{
		func(c contender) []string { return []string{"ssh", c.host, "head -c " + size + " /dev/zero"} },
		func(c contender) []string {
			return []string{"sh", "-c", "head -c " + size + " /dev/zero | ssh " + c.host + " 'cat >/dev/null'"}
		},
		func(c contender) []string { return []string{"scp", "-q", c.host + ":/tmp/random", "/tmp/back"} },
		func(c contender) []string { return []string{"scp", "-q", local, c.host + ":/tmp/again"} },
	} {
		var commands [][]string
		for _, c := range moving {
			commands = append(commands, command(c))
		}
		medians, err := b.timed(ctx, b.lab.Laptop, b.bulk, commands...)
		if err != nil {
			return rates, err
		}
		rates[i] = map[contender]float64{}
		for c, d := range byContender(moving, medians) {
			rates[i][c] = float64(l.mib) / (d - connect[c]).Seconds()
		}
	}
	return rates, nil
}

func bulkTable(s *strings.Builder, l line, rates [kinds]map[contender]float64) {
	fmt.Fprintf(s, "\n### Round trips: %s\n\n| | %s |\n|---|--:|--:|--:|--:|\n", l.name, strings.Join(kindNames[:], " | "))
	for _, c := range moving {
		fmt.Fprintf(s, "| %s |", c.what)
		for _, by := range rates {
			fmt.Fprintf(s, " %.0f MiB/s |", by[c])
		}
		s.WriteString("\n")
	}
	var t targets
	for i, by := range rates {
		of := by[ours] / by[unpublished]
		t.add(fmt.Sprintf("%s ≥ %.1f of `-J bastion,gpu1`", kindNames[i], targetThroughput), fmt.Sprintf("%.2f", of), of >= targetThroughput)
	}
	s.WriteString("\n" + t.String())
}
