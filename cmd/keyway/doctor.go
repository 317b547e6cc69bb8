package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"keyway/internal/api"
	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/link"
	"keyway/internal/plain"
)

func newDoctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check this laptop: ssh, the agent, your key, ~/.ssh/config, Docker",
		Long: `Check what keyway needs on this laptop, and print a remedy for each thing that is missing.
The command changes nothing and contacts no other machine; keyway status checks the route
to a place. It fails if something must be repaired, and warns if something could be better.` + exitCodes(),
		Example: "  keyway doctor\n  keyway doctor --json",
		Args:    takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDoctor(cmd.Context(), asJSON, cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// doctorReport is the output of keyway doctor --json.
type doctorReport struct {
	Checks  []laptop.Finding `json:"checks"`
	OK      bool             `json:"ok"`
	Version string           `json:"version"`
}

func runDoctor(ctx context.Context, asJSON bool, stdout io.Writer) error {
	findings := laptop.CheckAll(ctx, localNode)
	if state, err := dirs.State(); err == nil { // otherwise a check has reported the error
		findings = append(findings, checkRoom(state))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	failed := 0
	for i, f := range findings {
		findings[i].Next = next(f.Next, f.Advice, "")
		if f.Health == laptop.Failing {
			failed++
		}
	}
	if asJSON {
		if err := printJSON(stdout, doctorReport{findings, failed == 0, keyway.Version}); err != nil {
			return err
		}
	} else {
		printFindings(stdout, findings)
	}
	if failed > 0 {
		return keyway.Errorf(keyway.Other, "%d of %d checks failed", failed, len(findings)).Hint("begin with the first: it may be the cause of others")
	}
	return nil
}

// room is the free space that keyway's records need on a disk, in bytes.
const room = 256 << 10

// checkRoom checks that a file can be written where keyway keeps its records, and removes the
// file.
func checkRoom(dir string) laptop.Finding {
	path := filepath.Join(dir, fmt.Sprintf(".doctor-%d", os.Getpid()))
	defer os.Remove(path)
	if err := keyway.WriteFile(path, make([]byte, room), 0o600); err != nil {
		e := keyway.AsError(err)
		return laptop.Finding{Check: "state", Health: laptop.Failing, Message: e.Message, Next: cmp.Or(e.Next, "see who may write there: ls -ld "+plain.Shell(dir))}
	}
	return laptop.Finding{Check: "state", Health: laptop.Healthy, Message: dir}
}

func printFindings(w io.Writer, findings []laptop.Finding) {
	for _, f := range findings {
		plain.Fprintf(w, "%-5s %-12s %s\n", f.Health, f.Check, f.Message)
		for line := range strings.Lines(plain.Text(f.Next)) {
			fmt.Fprintf(w, "                   → %s\n", strings.TrimRight(line, "\n"))
		}
	}
}

// localNode asks this machine's node about itself.
func localNode(ctx context.Context) (api.Info, error) {
	program, err := os.Executable()
	if err != nil {
		return api.Info{}, err
	}
	programs, err := programs(program)
	if err != nil {
		return api.Info{}, err
	}
	return link.LocalInfo(ctx, plainNode(program), programs)
}
