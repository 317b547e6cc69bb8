package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/agent"
	"keyway/internal/agents"
	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/plain"
	"keyway/internal/policy"
)

func newKeysCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "List the keys in the agent: until when, and where each may be used",
		Long: `List the keys of the agent: type, fingerprint, until when each is kept, and where it may
be used. For a key with destinations (ssh-add -h), it lists, for each first host, every host
that can be reached from there in any number of the key's steps: a host on the route can
pretend that there are more steps, but cannot change where the route ends. For the other
keys, it lists, for each host through which the agent can be forwarded, the hosts to which
policy.yaml lets the key log in without asking you.` +
			exitCodes(keyway.NoKey),
		Example: "  keyway keys\n  keyway keys --json",
		Args:    takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runKeys(cmd.Context(), asJSON, cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func runKeys(ctx context.Context, asJSON bool, stdout io.Writer) error {
	c, env, err := dialAgent()
	if err != nil {
		return err
	}
	defer c.Close()
	keys, err := c.Keys(ctx)
	if errors.Is(err, agent.ErrOtherAgent) {
		return listOtherAgent(ctx, env, asJSON, stdout)
	}
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(stdout, keys)
	}
	if len(keys) == 0 {
		return keyway.Errorf(keyway.NoKey, "the agent is locked or holds no key").Hint("unlock yours: keyway unlock")
	}
	path, err := dirs.Policy()
	if err != nil {
		return err
	}
	rules, err := policy.Open(path)
	if err != nil {
		return err
	}
	hosts := laptop.Reachable(rules)
	for _, k := range keys {
		printKey(stdout, k)
		if len(k.Destinations) == 0 {
			for _, line := range laptop.Forwarded(rules, hosts, policy.Key{Fingerprint: k.Fingerprint, Comment: k.Comment}, time.Now()) {
				fmt.Fprintf(stdout, "    %s\n", line)
			}
		}
	}
	return nil
}

// dialAgent connects to the agent that keyway's commands use.
func dialAgent() (*agent.Client, []string, error) {
	a, err := newApp()
	if err != nil {
		return nil, nil, err
	}
	path := a.AgentSocket()
	if path == "" {
		path = os.Getenv("SSH_AUTH_SOCK")
	}
	noAgent := keyway.Errorf(keyway.NoKey, "there is no agent").Hint("start it and unlock your key: keyway unlock")
	if path == "" {
		return nil, nil, noAgent
	}
	c, err := agent.Dial(path)
	if err != nil {
		return nil, nil, noAgent
	}
	return c, a.Environ(), nil
}

// listOtherAgent lists the keys of an agent other than keyway's.
func listOtherAgent(ctx context.Context, env []string, asJSON bool, stdout io.Writer) error {
	if asJSON {
		return keyway.Errorf(keyway.Other, "the agent is not keyway's, or is locked: it does not describe its keys")
	}
	cmd := exec.CommandContext(ctx, "ssh-add", "-l")
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil && agents.IsEmpty(ctx, env) {
		return keyway.Errorf(keyway.NoKey, "the agent is locked or holds no key").Hint("unlock yours: keyway unlock")
	}
	if err != nil {
		return keyway.Errorf(keyway.NoKey, "%s", strings.TrimSpace(string(out))).Hint("unlock your key: keyway unlock")
	}
	fmt.Fprintf(stdout, "%s(another agent than keyway's: where its keys may be used is not known)\n", out)
	return nil
}

func printKey(w io.Writer, k agent.KeyInfo) {
	fmt.Fprintf(w, "%s  %s  %s\n", k.Fingerprint, strings.TrimSuffix(k.Type, "@openssh.com"), plain.Line(k.Comment))
	var notes []string
	if k.Upstream != "" {
		notes = append(notes, "held by the agent at "+plain.Line(k.Upstream))
	} else if k.Until.IsZero() {
		notes = append(notes, "kept until the agent ends")
	} else {
		notes = append(notes, "kept until "+moment(k.Until, time.Now()))
	}
	if forgotten := forgottenOn(k); forgotten != "" {
		notes = append(notes, forgotten)
	}
	if !k.Expires.IsZero() {
		notes = append(notes, "certificate until "+k.Expires.Local().Format(time.DateTime))
	}
	if k.Confirm {
		notes = append(notes, "each use is asked for")
	}
	if k.SignsLeft != nil {
		notes = append(notes, fmt.Sprintf("%d signatures left", *k.SignsLeft))
	}
	if k.Provider != "" {
		notes = append(notes, "through "+plain.Line(k.Provider))
	}
	fmt.Fprintf(w, "    %s\n", strings.Join(notes, ", "))
	for _, line := range reach(k.Destinations) {
		fmt.Fprintf(w, "    %s\n", line)
	}
}

// moment returns t with its day of the week, and with its date if that day is more than six days
// away.
func moment(t, now time.Time) string {
	if t.Sub(now) > 6*24*time.Hour {
		return t.Local().Format("Mon 2006-01-02 15:04:05")
	}
	return t.Local().Format("Mon 15:04:05")
}

// forgottenOn returns the events on which the agent forgets the key before its lifetime ends.
func forgottenOn(k agent.KeyInfo) string {
	var when []string
	for _, word := range k.ForgetOn {
		idle, isIdle := strings.CutPrefix(word, "idle=")
		switch {
		case isIdle:
			if d, err := policy.ParseDuration(idle); err == nil {
				when = append(when, "after "+spellOut(d)+" without a signature")
			}
		case word == "sleep":
			when = append(when, "when the machine sleeps")
		case word == "screen-lock":
			when = append(when, "when the screen is locked")
		}
	}
	if k.File != "" {
		when = append(when, "when "+plain.Line(k.File)+" goes")
	}
	if when == nil {
		return ""
	}
	return "forgotten " + strings.Join(when, ", ")
}

// reach returns where a key may be used: the hosts to which it may log in from the laptop, each
// with the hosts that can be reached from there.
func reach(steps []agent.Step) []string {
	if len(steps) == 0 {
		return []string{"from here anywhere"}
	}
	var lines []string
	for _, s := range steps {
		if s.From != "" {
			continue
		}
		line := "from here to " + plain.Line(asUser(s))
		if on := onward(steps, s.To); len(on) > 0 {
			line += "; from there to " + strings.Join(on, ", ")
		}
		lines = append(lines, line)
	}
	return lines
}

func asUser(s agent.Step) string {
	if s.User == "" {
		return s.To
	}
	return s.User + "@" + s.To
}

// onward returns the hosts that can be reached from a host in any number of steps.
func onward(steps []agent.Step, from string) []string {
	seen := map[string]bool{from: true}
	var found []string
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, s := range steps {
			if s.From != queue[0] {
				continue
			}
			if name := plain.Line(asUser(s)); !slices.Contains(found, name) {
				found = append(found, name)
			}
			if !seen[s.To] {
				seen[s.To] = true
				queue = append(queue, s.To)
			}
		}
	}
	return found
}
