//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

var connectSection = section{
	name:  "connect",
	title: "Connecting",
	lab:   true,
	measure: func(ctx context.Context, b *bench) (string, error) {
		var s strings.Builder
		fmt.Fprintf(&s, "`ssh HOST true`, the median of %d, taken in turns.\n", b.runs)
		for _, l := range lines {
			times, err := b.connects(ctx, l, b.runs)
			if err != nil {
				return "", err
			}
			connectTable(&s, l, times)
		}
		return s.String(), nil
	},
}

// targetConnect is the goal for a connection, as a part of the time of `ssh -J bastion` cold.
const targetConnect = 0.65

// targetHeld is the goal for a session on the mux's connection, as a part of the time of a warm
// ControlMaster.
const targetHeld = 0.5

var connecting = []contender{ours, published, unpublished, warm, held}

// connects times the connections of all contenders.
func (b *bench) connects(ctx context.Context, l line, runs int) (times map[contender]time.Duration, err error) {
	err = b.over(l, func() error {
		if err := check(b.laptop("sh", "-c", "ssh warm true >/dev/null 2>&1 </dev/null")); err != nil {
			return err
		}
		defer func() { _ = check(b.laptop("ssh", "-O", "exit", "warm")) }()
		var commands [][]string
		for _, c := range connecting {
			commands = append(commands, []string{"ssh", c.host, "true"})
		}
		medians, err := b.timed(ctx, b.lab.Laptop, runs, commands...)
		times = byContender(connecting, medians)
		return err
	})
	return times, err
}

func connectTable(s *strings.Builder, l line, times map[contender]time.Duration) {
	fmt.Fprintf(s, "\n### Round trips: %s\n\n| | `HOST true` | of `-J bastion` |\n|---|--:|--:|\n", l.name)
	for _, c := range connecting {
		fmt.Fprintf(s, "| %s | %d ms | %.2f |\n", c.what, times[c].Milliseconds(), ratio(times[c], times[published]))
	}
	var t targets
	of := ratio(times[ours], times[published])
	t.add(fmt.Sprintf("`ssh train true` with the link up ≤ %.2f of `-J bastion` cold", targetConnect), fmt.Sprintf("%.2f", of), of <= targetConnect)
	ofWarm, limit := ratio(times[held], times[warm]), targetHeld
	if !l.delayed {
		limit = 1 // most of it is the time of the ssh program itself
	}
	t.add(fmt.Sprintf("`ssh train true` with the mux ≤ %.1f of a ControlMaster that is up", limit), fmt.Sprintf("%.2f", ofWarm), ofWarm <= limit)
	s.WriteString("\n" + t.String())
}
