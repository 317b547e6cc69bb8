//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"keyway/test/lab"
)

// line is the connection between the hosts of the lab.
type line struct {
	name    string
	delayed bool
	mib     int // how much a transfer moves: some seconds' worth
}

// The round trips of the slow line.
const (
	delayToBastion = 40 * time.Millisecond
	delayBehind    = 2 * time.Millisecond
)

var lines = []line{
	{fmt.Sprintf("%d ms to the bastion, %d ms behind it", delayToBastion.Milliseconds(), delayBehind.Milliseconds()), true, 128},
	{"no delay", false, 512},
}

// over measures with the line in place.
func (b *bench) over(l line, measure func() error) error {
	if !l.delayed {
		return measure()
	}
	remove, err := b.delay()
	if err != nil {
		return err
	}
	return errors.Join(measure(), remove())
}

// delay puts 40 ms of round trip before the bastion and 2 ms behind it.
func (b *bench) delay() (remove func() error, err error) {
	first, err := b.lab.Delay(b.lab.Laptop, b.lab.Bastion, delayToBastion/2)
	if err != nil {
		return nil, err
	}
	second, err := b.lab.Delay(b.lab.Bastion, b.lab.GPU, delayBehind/2)
	if err != nil {
		return nil, errors.Join(err, first())
	}
	return func() error { return errors.Join(second(), first()) }, nil
}

// stopwatch is the path of the lab's tool on the hosts that measure.
const stopwatch = "/tmp/labtool"

// timed runs each command n times and returns the medians. The commands take turns, so that other
// work of the machine affects all of them equally.
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
		medians[i] = median(all[i])
	}
	return medians, nil
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
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

func byContender(who []contender, medians []time.Duration) map[contender]time.Duration {
	m := map[contender]time.Duration{}
	for i, d := range medians {
		m[who[i]] = d
	}
	return m
}
