package main

import (
	"cmp"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
	"keyway/internal/table"
)

func newPortsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ports NAME",
		Short: "List the ports that programs in a workspace listen on",
		Long: `List the TCP ports on which programs in a workspace listen: the address, the program, and
the job that it belongs to. keyway open NAME PORT opens one. The ports that the workspace's
template offers are listed, too, even if no program listens there yet. A program is named if
the workspace's user may see it. A workspace of the host engine shares the ports of its
machine.` + exitCodes(append(placeKinds, keyway.NotFound, keyway.NotRunning)...),
		Example:           "  keyway ports train\n  keyway ports train --json",
		Args:              takes(1, 1, "one workspace"),
		ValidArgsFunction: completeWorkspaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			a, entry, err := appFor(args[0])
			if err != nil {
				return err
			}
			ports, err := a.Ports(cmd.Context(), entry)
			var rows []portRow
			if err == nil {
				rows = portRows(ports, a.OfferedPorts(cmd.Context(), entry))
			}
			a.ui.end()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), rows)
			}
			if len(rows) == 0 {
				_, err = io.WriteString(cmd.ErrOrStderr(), "[no program listens in "+string(entry.Name)+"]\n")
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), portsText(rows, windowOf(cmd.OutOrStdout())))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// portRow is a port on which a program listens, or which the template offers.
type portRow struct {
	keyway.Port
	Offered bool `json:"offered,omitempty"` // by the template
}

// portRows returns the ports on which programs listen, then those that the template offers and
// on which nothing listens.
func portRows(ports []keyway.Port, offered []int) []portRow {
	rows := []portRow{}
	listens := map[int]bool{}
	for _, p := range ports {
		listens[p.Port] = true
		rows = append(rows, portRow{p, slices.Contains(offered, p.Port)})
	}
	for _, port := range offered {
		if !listens[port] {
			rows = append(rows, portRow{keyway.Port{Port: port}, true})
		}
	}
	slices.SortStableFunc(rows, func(a, b portRow) int { return a.Port.Port - b.Port.Port })
	return rows
}

func portsText(ports []portRow, window int) string {
	rows := [][]string{{"PORT", "ADDRESS", "PROGRAM", "JOB", "NOTE"}}
	for _, p := range ports {
		note := ""
		switch {
		case p.Address == "":
			note = "offered by the template; nothing listens"
		case p.Offered:
			note = "offered by the template"
		}
		rows = append(rows, lineCells(strconv.Itoa(p.Port.Port), cmp.Or(p.Address, "-"), cmp.Or(p.Program, "-"), cmp.Or(p.Session, "-"), note))
	}
	return (&table.Table{Window: window, Yield: []int{2, 3, 4}}).Rows(rows)
}
