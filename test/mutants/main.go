// Mutants breaks the claims of docs/THREATS.md and docs/PRIVILEGES.md one at a
// time, and demands that a test notices each.
//
// A mutant is one change of the source that takes away one claim. It is compiled
// by means of an overlay, so that the tree itself is never touched. A mutant is
// killed if the tests that its row names fail; a mutant that does not compile, or
// whose row names no test, is an error.
//
//	go run ./test/mutants                 every mutant
//	go run ./test/mutants -only guest     those whose area or claim contains "guest"
//
// The SSH agent and its log have a suite of their own, which compiles all of its
// mutants into one program: internal/agent's TestMutants.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"
)

// mutant is one row: the claim, the change that breaks it, and the test that
// must see it.
type mutant struct {
	claim    string // what the documents promise, in a few words
	file     string // the source file, from the module's root
	old, new string // old occurs in file exactly once
	pkg      string // the package whose tests must fail, from the module's root
	run      string // go test's -run
}

// areas are the tables, one for each part of the program.
var areas = []struct {
	name    string
	mutants []mutant
}{
	{"laptop", laptop},
	{"images", pulls},
	{"link", link},
	{"workspace", workspace},
	{"guest", guest},
	{"sftp", sftp},
	{"strangers", strangers},
	{"session", session},
	{"stream", stream},
	{"terminal", terminal},
	{"privileges", privileges},
	{"lending", lending},
	{"templates", templates},
	{"opening", opening},
	{"notebooks", notebooks},
}

func main() {
	only := flag.String("only", "", "run the mutants whose area or claim contains `text`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// run tries every chosen mutant and reports those that survived, and those that could
// not be tried.
func run(ctx context.Context, only string) error {
	r := round{healthy: map[string]bool{}}
	for _, area := range areas {
		for _, m := range area.mutants {
			if !strings.Contains(area.name, only) && !strings.Contains(m.claim, only) {
				continue
			}
			began := time.Now()
			verdict := r.one(ctx, m)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			fmt.Printf("%-10s %-8s %5.1f s  %s\n", area.name, verdict, time.Since(began).Seconds(), m.claim)
		}
	}
	return r.result()
}

// round has the results of the mutants that were tried.
type round struct {
	healthy map[string]bool // the packages and tests that pass without a mutant
	total   int
	failed  []string // the claims whose mutants survived, and why others could not be tried
}

// one tries one mutant.
func (r *round) one(ctx context.Context, m mutant) (verdict string) {
	r.total++
	if key := m.pkg + " " + m.run; !r.healthy[key] {
		if err := passes(ctx, m); err != nil {
			return r.broken(err)
		}
		r.healthy[key] = true
	}
	killed, err := try(ctx, m)
	switch {
	case err != nil:
		return r.broken(err)
	case !killed:
		r.failed = append(r.failed, "survived: "+m.claim)
		return "SURVIVED"
	}
	return "killed"
}

func (r *round) broken(err error) string {
	r.failed = append(r.failed, err.Error())
	return "BROKEN"
}

func (r *round) result() error {
	if len(r.failed) > 0 {
		return fmt.Errorf("%d of %d:\n  %s", len(r.failed), r.total, strings.Join(r.failed, "\n  "))
	}
	if r.total == 0 {
		return errors.New("there is no such mutant")
	}
	fmt.Printf("%d mutants, all killed\n", r.total)
	return nil
}
