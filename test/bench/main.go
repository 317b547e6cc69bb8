//go:build linux

// Bench measures keyway against stock OpenSSH into an OpenSSH sshd in the same
// kind of container, side by side in one run, in the lab: a laptop, a bastion
// and a GPU machine behind it. It prints a table and keeps it in
// docs/BENCHMARKS.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"keyway/test/lab"
)

func main() {
	runs := flag.Int("runs", 15, "how often each connection is timed")
	bulk := flag.Int("bulk-runs", 3, "how often each transfer and each start is timed")
	out := flag.String("o", "docs/BENCHMARKS.md", "the file, below the module's root, that keeps the table; empty: none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *runs, *bulk, *out); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, runs, bulk int, out string) error {
	if err := lab.Install(ctx, "bench"); err != nil {
		return err
	}
	root, err := lab.ModuleRoot()
	if err != nil {
		return err
	}
	b, err := newBench(ctx, runs, bulk)
	if err != nil {
		return err
	}
	defer b.close()
	report, err := b.measure(ctx)
	if err != nil {
		return err
	}
	text := report.markdown(time.Now())
	fmt.Print(text)
	if out == "" {
		return nil
	}
	return keep(filepath.Join(root, out), text)
}
