package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/link"
	"keyway/internal/plain"
)

func newStatusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [PLACE…]",
		Short: "Show the route to each place: hops, latency, engines, connections",
		Long: `Show the route to each place that this laptop uses: the hosts on it, whether it is up, its
round-trip time, the engines that can be used there, and the connections that it carries.
With PLACE, connect to the place first if it is not connected; ssh can then ask its
questions here.` + exitCodes(placeKinds...),
		Example:           "  keyway status\n  keyway status gpu1 --json",
		ValidArgsFunction: completePlaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runStatus(cmd.Context(), args, asJSON, cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func runStatus(ctx context.Context, named []string, asJSON bool, stdout io.Writer) error {
	a, err := newApp()
	if err != nil {
		return err
	}
	places, err := a.Places(named)
	if err != nil {
		return err
	}
	l, err := a.Link(ctx)
	if err != nil {
		return err
	}
	reports := make([]laptop.Report, len(places))
	var asked sync.WaitGroup
	for i, p := range places {
		asked.Go(func() { reports[i] = a.Examine(ctx, l, p) })
	}
	asked.Wait()
	a.ui.end()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s, err := l.Status(ctx)
	if err != nil {
		return err
	}
	var failed error
	for i := range reports {
		at := slices.IndexFunc(s.Places, func(p link.PlaceStatus) bool { return p.Place == reports[i].Place })
		if at >= 0 {
			reports[i].PlaceStatus = s.Places[at]
		}
		if e := reports[i].Error; e != nil {
			failed = e
		}
	}
	if asJSON {
		for i := range reports {
			reports[i].Error = spelledOut(reports[i].Error)
			spellEngines(reports[i].Node)
		}
		err = printJSON(stdout, statusReport{linkReport{s.PID, s.Started, s.Version}, reports})
	} else {
		printStatus(stdout, s, reports)
	}
	switch {
	case len(named) == 0 || err != nil || failed == nil:
		return err // reported, and not a failure
	case asJSON:
		return failed
	}
	return exitStatus(keyway.ExitCode(failed)) // which has been printed
}

// statusReport is the output of keyway status --json.
type statusReport struct {
	Link   linkReport      `json:"link"`
	Places []laptop.Report `json:"places"`
}

type linkReport struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Version string    `json:"version"`
}

func printStatus(w io.Writer, s link.Status, reports []laptop.Report) {
	fmt.Fprintf(w, "link: process %d, version %s, up %s\n", s.PID, s.Version, age(time.Since(s.Started)))
	if len(reports) == 0 {
		fmt.Fprintln(w, toFill("no place is in use; name one: keyway status PLACE"))
	}
	for _, r := range reports {
		plain.Fprintf(w, "\n%s: %s", r.Place, r.State)
		if r.State == "up" {
			fmt.Fprintf(w, " for %s, round trip %s", age(time.Since(r.Since)), r.RTT.Round(10*time.Microsecond))
		}
		fmt.Fprintln(w)
		if len(r.Hops) > 0 {
			plain.Fprintf(w, "  route:    this machine → %s\n", strings.Join(r.Hops, " → "))
		}
		if r.Note != "" {
			plain.Fprintf(w, "  note:     %s\n", r.Note)
		}
		if r.Error != nil {
			explain(w, r.Error, "  problem:  ", "            ")
		}
		if r.Node != nil {
			plain.Fprintf(w, "  machine:  %s, %s/%s, as %s\n", r.Node.Host, r.Node.OS, r.Node.Arch, r.Node.User)
			for _, e := range r.Node.Engines {
				why := "can be used"
				if !e.Usable && e.Why != nil {
					why = e.Why.Message
				}
				plain.Fprintf(w, "  engine:   %s: %s\n", e.Name, why)
			}
		}
		for _, st := range r.Streams {
			fmt.Fprintf(w, "  ssh:      %s\n", streamText(st, time.Now()))
		}
	}
}

// streamText returns status's line for one ssh connection.
func streamText(st link.StreamStatus, now time.Time) string {
	text := plain.Sprintf("%s for %s, %s up, %s down", st.Workspace, age(now.Sub(st.Since)), size(st.Up), size(st.Down))
	if st.State == "" {
		return text + "; ends with this connection (the guest is older than resumable streams)"
	}
	text += fmt.Sprintf(", %s unacknowledged, %s, %s", size(st.Unacked), laptop.Count(st.Stalls, "stall"), laptop.Count(st.Resumes, "resume"))
	if st.State != "up" {
		text += "\n            " + plain.Sprintf("%s for %s: %s", st.State, age(now.Sub(st.StateSince)), st.Why)
		if st.Help != "" {
			text += plain.Sprintf("; %s", st.Help)
		}
	}
	return text
}
