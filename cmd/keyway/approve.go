package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"keyway/internal/agent"
	"keyway/internal/keyway"
)

func newApproveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "approve",
		Short: "Answer the agent's questions in this window",
		Long: `Wait for requests that the policy wants you to decide, and answer them here: once, for
15 minutes, as long as the agent runs, or not at all. While it runs, the agent has
somebody to ask. A question goes away when whoever asked hangs up.` + exitCodes(keyway.NoKey, keyway.NeedsAnswer),
		Example: "  keyway approve",
		Args:    takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runApprove(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

func runApprove(ctx context.Context, in io.Reader, out io.Writer) error {
	c, _, err := dialAgent()
	if err != nil {
		return err
	}
	defer c.Close()
	lines := make(chan string)
	go func() { // a read from a terminal cannot be cancelled: it ends with the process
		defer close(lines)
		for s := bufio.NewScanner(in); s.Scan(); {
			select {
			case lines <- strings.TrimSpace(s.Text()):
			case <-ctx.Done():
				return
			}
		}
	}()
	fmt.Fprintln(out, "waiting for questions; end with Ctrl-C")
	var known []uint64
	for {
		open, err := c.Questions(ctx, known)
		if errors.Is(err, agent.ErrOtherAgent) {
			return keyway.Errorf(keyway.NoKey, "the agent is not keyway's, or is locked: it asks nothing")
		}
		if err != nil {
			return err
		}
		known = known[:0]
		for _, q := range open {
			known = append(known, q.ID)
			if err := approveOne(ctx, q, lines, out); err != nil {
				return err
			}
		}
	}
}

const approvedMinutes = 15

// approveOne puts one question. It has a connection of its own for the answer.
func approveOne(ctx context.Context, q agent.OpenQuestion, lines <-chan string, out io.Writer) error {
	choices := "o once, n no"
	if q.Grantable {
		choices = fmt.Sprintf("o once, m %d minutes, a as long as the agent runs, n no", approvedMinutes)
	}
	fmt.Fprintf(out, "\n%s\n[%s] ", q.Text, choices)
	var said string
	select {
	case line, ok := <-lines:
		if !ok {
			return keyway.Errorf(keyway.NeedsAnswer, "there is nobody to answer here any more")
		}
		said = line
	case <-ctx.Done():
		return ctx.Err()
	}
	yes, seconds := false, uint32(0)
	switch {
	case said == "o" || isYes(said):
		yes = true
	case said == "m" && q.Grantable:
		yes, seconds = true, approvedMinutes*60
	case said == "a" && q.Grantable:
		yes, seconds = true, agent.EverSeconds
	}
	c, _, err := dialAgent()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Answer(ctx, q.ID, yes, seconds); err != nil {
		fmt.Fprintln(os.Stderr, "too late: the question has gone")
		return nil
	}
	return nil
}
