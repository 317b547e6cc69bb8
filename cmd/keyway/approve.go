package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"keyway/internal/agent"
	"keyway/internal/keyway"
)

func newApproveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "approve",
		Short: "Answer the agent's questions in this window",
		Long: `Wait for requests about which the policy asks you, and answer them here: allow once, for
15 minutes, or as long as the agent runs, or deny. The agent can ask you while this
command runs. A question disappears when the program that asked closes its connection.` + exitCodes(keyway.NoKey, keyway.NeedsAnswer),
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
	go func() { // a read from a terminal cannot be cancelled: the goroutine ends with the process
		defer close(lines)
		for s := bufio.NewScanner(in); s.Scan(); {
			select {
			case lines <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	fmt.Fprintln(out, "waiting for questions; end with Ctrl-C")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := approver{out: out, updates: make(chan []agent.OpenQuestion), failed: make(chan error, 1)}
	go func() { p.failed <- p.poll(ctx, c) }()
	err = p.run(ctx, lines)
	cancel()
	if pollErr := <-p.failed; err == nil {
		err = pollErr
	}
	return err
}

// approver shows the open questions one at a time.
type approver struct {
	out     io.Writer
	updates chan []agent.OpenQuestion // all open questions, at each change
	failed  chan error                // the error of poll, once it has ended
	shown   *agent.OpenQuestion
}

// poll asks the agent for its open questions until ctx ends.
func (p *approver) poll(ctx context.Context, c *agent.Client) error {
	defer close(p.updates)
	var known []uint64
	for {
		open, err := c.Questions(ctx, known)
		if errors.Is(err, agent.ErrOtherAgent) {
			return keyway.Errorf(keyway.NoKey, "the agent is not keyway's, or is locked: it has no questions for you")
		}
		if err != nil {
			return err
		}
		known = known[:0]
		for _, q := range open {
			known = append(known, q.ID)
		}
		select {
		case p.updates <- open:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run shows questions and passes the lines on as answers. It returns nil when poll has ended with
// ctx.
func (p *approver) run(ctx context.Context, lines <-chan string) error {
	for {
		select {
		case open, ok := <-p.updates:
			if !ok {
				return nil
			}
			p.show(open)
		case line, ok := <-lines:
			if !ok {
				return keyway.Errorf(keyway.NeedsAnswer, "there is nobody to answer here any more")
			}
			if p.shown == nil {
				continue
			}
			if err := p.answer(ctx, line); err != nil {
				return err
			}
		}
	}
}

// show shows the oldest question, unless it is on the screen, and tells the user if the previous
// one has been answered elsewhere.
func (p *approver) show(open []agent.OpenQuestion) {
	if p.shown != nil {
		if slices.ContainsFunc(open, func(q agent.OpenQuestion) bool { return q.ID == p.shown.ID }) {
			return
		}
		fmt.Fprintln(p.out, "\nthe question has gone: the program that asked has ended, or the question was answered elsewhere")
		p.shown = nil
	}
	if len(open) > 0 {
		p.shown = &open[0]
		fmt.Fprintf(p.out, "\n%s\n[%s] ", p.shown.Text, agent.Choices(p.shown.Grantable))
	}
}

// answer answers the question on the screen, on a connection of its own.
func (p *approver) answer(ctx context.Context, line string) error {
	c, _, err := dialAgent()
	if err != nil {
		return err
	}
	defer c.Close()
	id := p.shown.ID
	p.shown = nil
	if err := c.Answer(ctx, id, agent.ParseAnswer(line, "")); err != nil {
		fmt.Fprintln(p.out, "too late: the question has gone")
	}
	return nil
}
