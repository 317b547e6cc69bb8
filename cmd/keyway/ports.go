package main

import (
	"cmp"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/table"
)

func newPortsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ports NAME",
		Short: "List the ports that programs in a workspace listen on",
		Long: `List the TCP ports on which programs in a workspace accept connections: the address that
each is bound to, the program, and the job that it belongs to. keyway open NAME PORT leads
to one. A program is named where the workspace's user may see it. A workspace of the host
engine shares the ports of its machine.` + exitCodes(append(placeKinds, keyway.NotFound, keyway.NotRunning)...),
		Example:           "  keyway ports train\n  keyway ports train --json",
		Args:              takes(1, 1, "one workspace"),
		ValidArgsFunction: completeWorkspaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			a, entry, err := appFor(args[0])
			if err != nil {
				return err
			}
			ports, err := a.Ports(cmd.Context(), entry)
			a.ui.end()
			if err != nil {
				return err
			}
			if asJSON {
				return plain.JSON(cmd.OutOrStdout(), ports)
			}
			if len(ports) == 0 {
				_, err = io.WriteString(cmd.ErrOrStderr(), "[no program listens in "+string(entry.Name)+"]\n")
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), portsText(ports, windowOf(cmd.OutOrStdout())))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func portsText(ports []keyway.Port, window int) string {
	rows := [][]string{{"PORT", "ADDRESS", "PROGRAM", "JOB"}}
	for _, p := range ports {
		rows = append(rows, lineCells(strconv.Itoa(p.Port), p.Address, cmp.Or(p.Program, "-"), cmp.Or(p.Session, "-")))
	}
	return (&table.Table{Window: window, Yield: []int{2, 3}}).Rows(rows)
}
