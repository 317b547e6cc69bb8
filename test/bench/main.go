//go:build linux

// Bench measures keyway against stock OpenSSH into an OpenSSH sshd in the same
// kind of container, side by side in one run, in the lab: a laptop, a bastion
// and a GPU machine behind it. It prints its tables, a section for each thing
// measured, and keeps them in docs/BENCHMARKS.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"keyway/test/lab"
)

// sections lists all measurements, in the order of the report. A new one is a file with its
// section, and a line here.
var sections = []section{
	connectSection,
	muxSection,
	bulkSection,
	cpuSection,
	agentSection,
	startSection,
	templateSection,
	screenSection,
	streamSection,
	sessionSection,
	notebookSection,
	sizeSection,
}

func main() {
	runs := flag.Int("runs", 15, "how often each connection is timed")
	bulk := flag.Int("bulk-runs", 3, "how often each transfer and each start is timed")
	only := flag.String("only", "", "measure these sections alone: "+strings.Join(names(sections), ","))
	out := flag.String("o", "docs/BENCHMARKS.md", "the file, below the module's root, that keeps the tables; empty: none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *runs, *bulk, *only, *out); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, runs, bulk int, only, out string) error {
	chosen, err := choose(sections, only)
	if err != nil {
		return err
	}
	if err := lab.Install(ctx, "bench"); err != nil {
		return err
	}
	root, err := lab.ModuleRoot()
	if err != nil {
		return err
	}
	b := &bench{runs: runs, bulk: bulk}
	defer b.close()
	if slices.ContainsFunc(chosen, func(s section) bool { return s.lab }) {
		if err := b.start(ctx); err != nil {
			return err
		}
	}
	var failed error
	for _, s := range chosen {
		say("measuring: %s", s.title)
		began := time.Now()
		text, err := s.measure(ctx, b)
		if err != nil {
			// The results of the other sections remain useful.
			failed = errors.Join(failed, fmt.Errorf("%s: %w", s.name, err))
			continue
		}
		text = s.render(text, began)
		fmt.Print(text)
		if out != "" {
			failed = errors.Join(failed, keep(filepath.Join(root, out), names(sections), s.name, text))
		}
	}
	return failed
}

// choose returns the sections whose names are in only, a list with commas; all sections if it is
// empty.
func choose(all []section, only string) ([]section, error) {
	if only == "" {
		return all, nil
	}
	var chosen []section
	for name := range strings.SplitSeq(only, ",") {
		i := slices.Index(names(all), name)
		if i < 0 {
			return nil, fmt.Errorf("there is no section %q; there are: %s", name, strings.Join(names(all), ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func names(all []section) []string {
	var list []string
	for _, s := range all {
		list = append(list, s.name)
	}
	return list
}
