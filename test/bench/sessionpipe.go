//go:build linux

package main

import (
	"context"
	"fmt"
)

const (
	targetPiped = 0.95    // of the rate of ssh
	pipedBytes  = 1 << 30 //
	pipedRuns   = 5
)

// piped compares the output of a job in a pipe with that of a command of ssh's, over the same route
// and into the same reader, which reads all available bytes.
func piped(ctx context.Context, b *bench, t *targets) error {
	const file = "/tmp/gib"
	if err := check(b.laptop("ssh", ours.host, fmt.Sprintf("head -c %d /dev/zero >%s", pipedBytes, file))); err != nil {
		return err
	}
	into := func(command string) []string {
		return []string{"bash", "-c", "set -o pipefail; " + command + " | cat >/dev/null"}
	}
	medians, err := b.timed(ctx, b.lab.Laptop, pipedRuns,
		into("ssh "+ours.host+" cat "+file), into("keyway run "+ours.host+" -T -- cat "+file))
	if err != nil {
		return err
	}
	of := ratio(medians[0], medians[1])
	t.add(fmt.Sprintf("`keyway run -T -- cat` of 1 GiB into a pipe ≥ %.2f × `ssh … cat` (%.1f s)", targetPiped, medians[0].Seconds()),
		fmt.Sprintf("%.2f ×", of), of >= targetPiped)
	return check(b.laptop("ssh", ours.host, "rm "+file))
}
