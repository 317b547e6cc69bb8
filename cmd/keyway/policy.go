package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"keyway/internal/dirs"
	"keyway/internal/hostnames"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/policy"
)

func newPolicyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Check the policy for signatures, and explain its decisions",
		Long: `The agent decides by policy.yaml in keyway's configuration directory. The first rule that
matches decides:

  preset: standard            # or openssh: anywhere, as ssh-agent
  forget: [idle=30m, sleep, screen-lock]   # default: never
  upstream: /path/of/socket   # another agent, whose keys are used, too
  rules:
    - name: never production
      deny: any               # login, session, git, data, or
                              # sign:NAMESPACE; any is all but data
      to: ["prod-*"]          # a name of known_hosts or ssh_config,
                              # SHA256:…, @workspaces, @git
    - name: nightly jobs
      allow: login
      from: [train]           # the route's first host, local, or remote
      to: db1
      user: backup
      key: "me@*"             # comment or SHA256:…
      days: mon-fri           # the days on which the hours begin:
      hours: 22:00-06:00      # Saturday at 02:00 belongs to Friday
    - ask: git
      from: remote
    - deny: session           # on a connection that keyway mux holds
      program: "*/node"       # what asks, or what started it

Without a file, programs on this machine may do everything. Remote requests may list keys.
Requests from a workspace that this laptop knows may log in to the workspaces of its place
and to the public git hosts. For every other request, also one from a bastion or a GPU
machine, the agent asks you, or denies it if nobody can answer. Remote requests never add,
remove, lock or load keys. A request that does not verify is denied, whatever the rules say.

Hashed names in known_hosts are compared with every name in ssh_config and in the rules. If
a rule that asks or denies matches by name, and some names of a host are not known, the
agent asks you.`,
		Example: "  keyway policy check\n  keyway policy explain --from gpu1 --to db1 --user root",
		Args:    takes(0, 0, "check or explain"),
		RunE:    func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyCheckCommand(), newPolicyExplainCommand())
	return cmd
}

func newPolicyCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "check [FILE]",
		Short:   "Check the policy file",
		Long:    "Read policy.yaml, or FILE, as the agent does, and report its errors. An agent does not\nstart with a wrong policy, and one that runs keeps the last valid policy." + exitCodes(keyway.BadConfig),
		Example: "  keyway policy check",
		Args:    takes(0, 1, "at most one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := dirs.Policy()
			if err != nil {
				return err
			}
			if len(args) > 0 {
				path = args[0]
				if _, err := os.Stat(path); err != nil { // a default file may be missing
					return keyway.Errorf(keyway.BadConfig, "there is no policy to check: %w", err).Hint("name the file, or check the one that is used: keyway policy check")
				}
			}
			rules, err := policy.Open(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: fine\n", policy.Named(path))
			if text := laptop.HashedText(rules, hostnames.Read(func() *policy.Policy { return rules })); text != "" {
				fmt.Fprintln(cmd.OutOrStdout(), text)
			}
			return nil
		},
	}
}

// explained is the request that the options of keyway policy explain describe.
type explained struct {
	from, to, user, key, sign, program, at, file string
	unproven, session, data                      bool
}

func newPolicyExplainCommand() *cobra.Command {
	var x explained
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Explain what the policy decides about a request, and why",
		Long: `Explain what the policy decides about a request, and why the rules before the deciding one
did not match. Hosts are names from known_hosts or ssh_config, or fingerprints. This command
knows no more of them than the agent does. A session on a connection that keyway mux holds
needs a login that is allowed, too: the command explains both.` + exitCodes(keyway.BadConfig),
		Example: "  keyway policy explain --from gpu1 --to db1 --user root\n  keyway policy explain --from train --sign git\n  keyway policy explain --to github.com --at 02:00\n  keyway policy explain --to train --program /usr/bin/node",
		Args:    takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPolicyExplain(x, time.Now(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&x.from, "from", "", "the first `HOST` of a forwarded agent's route (default: this machine)")
	f.StringVar(&x.to, "to", "", "the `HOST` to log in to")
	f.StringVar(&x.user, "user", "", "the `USER` to log in as")
	f.StringVar(&x.key, "key", "", "the key, by `COMMENT` or fingerprint")
	f.StringVar(&x.sign, "sign", "", "a signature in this `NAMESPACE` (git, file, …) instead of a login")
	f.BoolVar(&x.data, "data", false, "a signature of data of an unknown kind instead of a login")
	f.BoolVar(&x.session, "session", false, "a session on a connection that keyway mux holds")
	f.StringVar(&x.program, "program", "", "a session of the program at this `PATH`")
	f.StringVar(&x.at, "at", "", "the `TIME`, as 02:00, or as \"sat 02:00\" (default: now)")
	f.BoolVar(&x.unproven, "unproven", false, "the destination is not proven: an old client on the route")
	f.StringVar(&x.file, "file", "", "this policy `FILE` instead of policy.yaml")
	for _, other := range []string{"session", "program"} {
		exclusive(cmd, "sign", "data", other)
	}
	return cmd
}

func runPolicyExplain(x explained, now time.Time, out io.Writer) error {
	path, err := dirs.Policy()
	if err != nil {
		return err
	}
	if x.file != "" {
		path = x.file
	}
	when, err := momentOf(x.at, now)
	if err != nil {
		return err
	}
	rules, err := policy.Open(path)
	if err != nil {
		return err
	}
	f, unseen := x.facts(rules)
	f.When = when
	explainRequest(rules, f, out)
	if x.session || x.program != "" {
		f.Purpose = policy.Session
		if x.program != "" {
			f.Programs = []string{x.program}
		}
		explainRequest(rules, f, out)
	}
	for _, name := range unseen {
		fmt.Fprintf(out, "known_hosts has no key for %s, so the agent does not know its name yet\n", name)
	}
	return nil
}

// explainRequest prints the rules' decision about f.
func explainRequest(rules *policy.Policy, f policy.Facts, out io.Writer) {
	d, passed := rules.Explain(f, nil)
	answer := "no"
	switch {
	case d.Verdict == policy.Allow:
		answer = "yes"
	case d.Verdict == policy.Ask && f.Purpose == policy.Session:
		answer = "no, and ssh connects by itself"
	case d.Verdict == policy.Ask:
		answer = "you are asked"
	}
	fmt.Fprintf(out, "May %s %s? %s: %s (%s)\n", f.Who(), f.What(), answer, d.Reason, d.Rule)
	for _, line := range passed {
		fmt.Fprintf(out, "  %s\n", line)
	}
}

// momentOf parses a time: empty for now, 02:00 for today, or "sat 02:00" for the first such day
// from today on.
func momentOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return now, nil
	}
	day, hour, found := strings.Cut(text, " ")
	if !found {
		day, hour = now.Format("Mon"), text
	}
	clock, err := time.Parse("15:04", hour)
	if err == nil {
		for i := range 7 {
			at := time.Date(now.Year(), now.Month(), now.Day()+i, clock.Hour(), clock.Minute(), 0, 0, now.Location())
			if strings.EqualFold(at.Format("Mon"), day) {
				return at, nil
			}
		}
	}
	return time.Time{}, keyway.Errorf(keyway.Usage, "%q is not a time", text).Hint("write it as 02:00, or with a day as \"sat 02:00\"")
}

// facts returns the facts that the agent would have about the request, except for the time, and
// the names of hosts whose keys the agent would not know.
func (x explained) facts(rules *policy.Policy) (f policy.Facts, unseen []string) {
	names := hostnames.Read(func() *policy.Policy { return rules })
	host := func(name string) policy.Host {
		h, ok := names.Find(name)
		if !ok {
			unseen = append(unseen, name)
		}
		return h
	}
	f = policy.Facts{
		Op: policy.Sign, Purpose: policy.Login, User: x.user, AnyUser: x.user == "",
		Constraint: policy.Unconstrained, Key: policy.Key{Comment: x.key},
	}
	if strings.HasPrefix(x.key, "SHA256:") {
		f.Key = policy.Key{Fingerprint: x.key}
	}
	if x.from != "" {
		f.Remote, f.From = true, host(x.from)
	}
	switch {
	case x.sign != "":
		f.Purpose, f.Namespace = policy.Signature, x.sign
	case x.data:
		f.Purpose = policy.Data
	case x.to != "":
		f.To, f.Proven = host(x.to), !x.unproven
	}
	return f, unseen
}
