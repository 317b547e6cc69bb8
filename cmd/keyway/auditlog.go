package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/agent"
	"keyway/internal/audit"
	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/plain"
)

func newLogCommand() *cobra.Command {
	var follow, verify, asJSON bool
	var last int
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Show every signature: when, which key, who asked, for what, why allowed",
		Long: `Show the agent's log: every signature that was requested, allowed or denied, and every
change of its keys. The log is a chain: each line holds the SHA-256 of the line before.
--verify checks it from the beginning, and reports changed lines and missing files, except
those that keyway itself has rotated out. Note the hash that it prints in another place: a
later check then proves that nothing before it was changed.

Repeated refusals are one line with their count (and 4,711 more). No number of refusals
removes the line of an allowed use from the log.` +
			exitCodes(keyway.BadConfig),
		Example: "  keyway log\n  keyway log -f\n  keyway log --verify",
		Args:    takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := dirs.AuditLog()
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if verify {
				return verifyLog(path, out)
			}
			sayWhoseAgent(cmd.Context(), cmd.ErrOrStderr())
			empty := true
			print := func(e audit.Event) error {
				empty = false
				if asJSON {
					return printJSON(out, e)
				}
				return printEvent(out, e)
			}
			err = showLog(cmd.Context(), path, last, follow, print)
			if err == nil && empty && !follow {
				fmt.Fprintln(cmd.ErrOrStderr(), "the log is empty: keyway's agent has not been used")
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "continue with new events")
	cmd.Flags().BoolVar(&verify, "verify", false, "check that no line was changed, removed or added")
	cmd.Flags().IntVarP(&last, "lines", "n", 0, "only the last `N` (0: all)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one event a line")
	return cmd
}

// sayWhoseAgent warns the user if the agent that ssh uses keeps no log.
func sayWhoseAgent(ctx context.Context, news io.Writer) {
	c, _, err := dialAgent()
	if err != nil {
		return
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, laptop.CheckTimeout)
	defer cancel()
	if _, err := c.Keys(ctx); errors.Is(err, agent.ErrOtherAgent) {
		fmt.Fprintln(news, "the agent that ssh uses is not keyway's, or is locked: another one's signatures are not in this log")
		fmt.Fprintln(news, "  → have keyway's agent show its keys, under the policy and the log: keyway agent --upstream \"$SSH_AUTH_SOCK\"")
	}
}

func verifyLog(path string, out io.Writer) error {
	r, err := audit.Verify(path)
	if err != nil {
		return keyway.Errorf(keyway.Other, "the log was changed: %w", err).Hint("the lines before that are sound; keep the files as they are")
	}
	if r.Events == 0 {
		fmt.Fprintln(out, "the log is empty")
		return nil
	}
	fmt.Fprintf(out, "sound: %d events from %s to %s\n", r.Events, r.First.Local().Format(time.DateTime), r.Last.Local().Format(time.DateTime))
	switch {
	case r.Unsaid:
		fmt.Fprintln(out, "older ones are gone: an earlier version rotated them out without a record, or somebody removed them")
	case r.Rotated:
		fmt.Fprintf(out, "older ones have been rotated out, as the log records; %d uses and changes of keys are kept from them\n", r.Kept)
	}
	if r.Torn > 0 {
		fmt.Fprintf(out, "%d lines were not written to their end, and the log records that\n", r.Torn)
	}
	if r.Unwritten > 0 {
		fmt.Fprintf(out, "%s events could not be written when they happened, and the log records when and why\n", thousands(r.Unwritten))
	}
	fmt.Fprintf(out, "event %d has the hash %s\n", r.Seq, r.Hash)
	return nil
}

// showLog prints the last events (all if last is 0) and, if follow is set, those that come after.
func showLog(ctx context.Context, path string, last int, follow bool, print func(audit.Event) error) error {
	total := 0
	if last > 0 {
		if err := audit.Read(path, func(audit.Event) error { total++; return nil }); err != nil {
			return err
		}
	}
	seen := 0
	each := func(e audit.Event) error {
		if seen++; last > 0 && seen <= total-last {
			return nil
		}
		return print(e)
	}
	if !follow {
		return audit.Read(path, each)
	}
	err := audit.Follow(ctx, path, each)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// printEvent prints one event as a sentence:
//
//	14:02:11 allowed me@laptop to log in to github.com as git, asked from train via lab (rule 3: git hosts)
func printEvent(w io.Writer, e audit.Event) error {
	verdict := e.Verdict
	if verdict == "" {
		verdict = "-"
	}
	text := fmt.Sprintf("%s  %-7s  %s", e.Time.Local().Format("2006-01-02 15:04:05"), verdict, eventText(e))
	if e.Remote {
		from := e.From
		if from == "" {
			from = "an unknown host"
		}
		text += ", asked from " + from
		if e.Via != "" {
			text += " and beyond (" + e.Via + ")"
		}
	} else if e.Program != "" {
		text += fmt.Sprintf(", asked by %s (%d)", e.Program, e.PID)
	}
	if e.Rule != "" {
		text += " (" + e.Rule + ")"
	}
	if e.Verdict != audit.Allowed && e.Reason != "" || e.Event != audit.Sign && e.Event != audit.Session && e.Reason != "" {
		text += ": " + e.Reason
	}
	if e.More > 0 {
		text += fmt.Sprintf(" (and %s more)", thousands(e.More))
	}
	_, err := fmt.Fprintln(w, plain.Line(text))
	return err
}

// thousands returns n with commas between groups of three digits.
func thousands(n uint64) string {
	text := strconv.FormatUint(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func eventText(e audit.Event) string {
	key := e.Comment
	if key == "" {
		key = e.Key
	}
	if e.Event == audit.Offer {
		return "no key to log in to " + e.To
	}
	if e.Event == audit.Session {
		return fmt.Sprintf("%s for a session on %s as %s", key, plain.Line(e.To), plain.Line(e.User))
	}
	if e.Event != audit.Sign {
		if key == "" {
			return string(e.Event)
		}
		return string(e.Event) + " " + key
	}
	switch {
	case e.Purpose == "login" && e.To == "":
		return fmt.Sprintf("%s to log in somewhere as %s", key, e.User)
	case e.Purpose == "login":
		return fmt.Sprintf("%s to log in to %s as %s", key, e.To, e.User)
	case e.Purpose == "signature":
		return fmt.Sprintf("%s to sign for %s", key, e.Namespace)
	case e.Purpose == "data":
		return key + " to sign data of an unknown kind"
	}
	return "sign " + key
}
