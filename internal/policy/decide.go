package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Verdict is the decision about a request. The zero value refuses.
type Verdict int

// The verdicts.
const (
	Deny Verdict = iota
	Ask
	Allow
)

func (v Verdict) String() string {
	switch v {
	case Allow:
		return "allow"
	case Ask:
		return "ask"
	}
	return "deny"
}

// Decision is a verdict with where it comes from and why. The zero value
// refuses.
type Decision struct {
	Verdict Verdict
	Rule    string // "rule 3: git hosts", "built in: …", "answer: …"
	Reason  string // one sentence
}

// Policy is an ordered list of rules over built-in behaviour. It does not change
// after it was made. The zero value refuses everything.
type Policy struct {
	rules    []rule
	preset   preset
	upstream string
	forget   Forget
}

// Upstream returns the socket of the agent whose keys are used beside the agent's
// own; empty: none. It may begin with ~/, which is for the caller to expand.
func (p *Policy) Upstream() string {
	if p == nil {
		return ""
	}
	return p.upstream
}

// HostNames returns the names of hosts in the rules, except patterns.
func (p *Policy) HostNames() (names []string) {
	if p == nil {
		return nil
	}
	for _, r := range p.rules {
		for _, pattern := range slices.Concat(r.from, r.to) {
			if byName(pattern) && !strings.ContainsAny(pattern, "*?") {
				names = append(names, pattern)
			}
		}
	}
	return names
}

// GoesByName reports whether a rule that asks or denies goes by the names of hosts.
func (p *Policy) GoesByName() bool {
	return p != nil && slices.ContainsFunc(p.rules, func(r rule) bool {
		return r.verdict != Allow && slices.ContainsFunc(slices.Concat(r.from, r.to), byName)
	})
}

type preset int

const (
	refuseAll preset = iota
	standard
	openSSH
)

// Standard returns the policy of a user that has written none: programs on this machine may do
// everything; remote askers may list keys; those in a workspace that this laptop knows may also
// log in to the workspaces of its place and to the public git hosts; the user is asked about
// everything else.
func Standard() *Policy { return &Policy{preset: standard} }

// OpenSSH returns a policy that is as permissive about destinations as ssh-agent, while
// everything is still verified and logged. Remote askers may still only list and sign.
func OpenSSH() *Policy { return &Policy{preset: openSSH} }

// Grant is an answer of the user that holds for a while.
type Grant struct {
	Scope   Scope
	Verdict Verdict
	Until   time.Time // zero: as long as the agent runs
	Reason  string
}

// Scope is the part of a request that an answer holds for. A later request gets the
// same answer only if all of it is equal.
type Scope struct {
	Remote    bool
	From      string // fingerprint of the first hop
	Route     string `json:"Way,omitempty"` // the sessions on the route that the agent did not sign for
	To        string // fingerprint of the destination
	Purpose   Purpose
	User      string
	Namespace string
	Key       string
}

// ScopeOf returns the scope of an answer to the question that f raises.
func ScopeOf(f Facts) Scope {
	s := Scope{
		Remote: f.Remote, From: f.From.Fingerprint, Route: f.Route,
		Purpose: f.Purpose, User: f.User, Namespace: f.Namespace, Key: f.Key.Fingerprint,
	}
	if f.Proven {
		s.To = f.To.Fingerprint
	}
	return s
}

// Grantable reports whether an answer may hold for longer than once: not where the destination is
// unproven or the data unknown, because the next request that looks the same may be for something
// else entirely.
func Grantable(f Facts) bool {
	return f.Op == Sign && (f.Purpose == Login && f.Proven || f.Purpose == Signature)
}

// Decide decides about the request that f describes. grants are the user's earlier answers, in
// order.
func (p *Policy) Decide(f Facts, grants []Grant) Decision {
	d, _ := p.decide(f, grants, nil)
	return d
}

// Explain is Decide, but also returns every rule that was examined and why it did not match.
func (p *Policy) Explain(f Facts, grants []Grant) (Decision, []string) {
	return p.decide(f, grants, []string{})
}

func (p *Policy) decide(f Facts, grants []Grant, trace []string) (Decision, []string) {
	if p == nil || p.preset == refuseAll {
		return Decision{Deny, "built in: no policy", "there is no policy"}, trace
	}
	if d, ok := guard(f); ok {
		return d, trace
	}
	if f.Op != Sign {
		return Decision{Allow, "built in: " + string(f.Op), "this asker may"}, trace
	}
	d, trace := p.byRules(f, trace)
	// An answer replaces a question, never a rule: a rule that the user writes later takes effect
	// at once.
	if answer, ok := granted(f, grants); ok && d.Verdict == Ask {
		return answer, trace
	}
	return d, trace
}

// byRules returns the decision of the first rule that matches, or the built-in one. If
// an earlier rule asks or denies, and may match, the decision is at most Ask.
func (p *Policy) byRules(f Facts, trace []string) (Decision, []string) {
	var doubt *rule
	for i := range p.rules {
		r := &p.rules[i]
		m, why := r.compare(f)
		if m == matches {
			return p.cautious(f, r.decision(), doubt), trace
		}
		if m == mayMatch && doubt == nil {
			doubt = r
		}
		if trace != nil {
			trace = append(trace, fmt.Sprintf("%s (line %d) %s: %s", r.label(), r.line, m, why))
		}
	}
	return p.cautious(f, p.builtIn(f), doubt), trace
}

// cautious turns Allow into Ask where something that the decision rests on is not
// certain: whether a rule might match, or a host on the route of a key that may
// only be used on that route.
func (p *Policy) cautious(f Facts, d Decision, doubt *rule) Decision {
	switch {
	case d.Verdict != Allow:
	case doubt != nil:
		return Decision{Ask, doubt.label(), fmt.Sprintf("line %d of the policy goes by name, and %s", doubt.line, doubt.unnamed(f))}
	case f.Constraint == Permits && len(f.Unverified) > 0 && p.preset != openSSH:
		return Decision{Ask, "built in: the route", fmt.Sprintf("the route leads through %s, by a login that this agent did not sign", f.Unverified[0])}
	}
	return d
}

// guard refuses what no rule can allow.
func guard(f Facts) (Decision, bool) {
	deny := func(rule, reason string) (Decision, bool) {
		return Decision{Deny, "built in: " + rule, reason}, true
	}
	switch {
	case f.Violation != "":
		return deny("verification", f.Violation)
	case f.Remote && f.Op != List && f.Op != Sign:
		return deny("remote askers", fmt.Sprintf("a remote asker may only list and sign, never %s", f.Op))
	case f.Op == Sign && f.Constraint == Refuses && f.Restriction != "":
		return deny("the key's own destinations", f.Restriction)
	case f.Op == Sign && f.Constraint == Refuses:
		return deny("the key's own destinations", "the destinations that were put on the key do not include this one")
	case f.Op == Sign && f.Constraint != Permits && f.Constraint != Unconstrained:
		return deny("the key's own destinations", "nobody has looked at the key's own destinations")
	case f.Op == Sign && f.Purpose == Session && (f.Remote || !f.Proven):
		return deny("session", "sessions are for programs of this machine, on hosts that have proven themselves")
	case f.Op == Sign && f.Purpose == Session:
	case f.Op == Sign && f.Purpose != Login && f.Purpose != Signature && f.Purpose != Data:
		return deny("purpose", "the purpose of the signature is not known")
	}
	return Decision{}, false
}

func granted(f Facts, grants []Grant) (Decision, bool) {
	scope := ScopeOf(f)
	for _, g := range grants {
		if g.Scope == scope && (g.Until.IsZero() || f.When.Before(g.Until)) {
			return Decision{g.Verdict, "answer", g.Reason}, true
		}
	}
	return Decision{}, false
}

// builtIn decides where no rule matched.
func (p *Policy) builtIn(f Facts) Decision {
	switch {
	case !f.Remote:
		return Decision{Allow, "built in: this machine", "a program on this machine asks"}
	case f.Constraint == Permits:
		return Decision{Allow, "built in: the key's own destinations", "this destination was put on the key when it was added"}
	case p.preset == openSSH:
		return Decision{Allow, "built in: preset openssh", "ssh-agent would sign this too"}
	case f.Purpose == Data:
		return Decision{Deny, "built in: unknown data", "a remote asker requests a signature of data of an unknown kind"}
	case f.Purpose == Login && f.Proven && f.fromOwnWorkspace() && slices.Contains(f.To.Groups, GroupWorkspaces) && f.To.Place == f.From.Place:
		return Decision{Allow, "built in: workspaces", "a workspace of yours asks, and the destination is one at the same place"}
	case f.Purpose == Login && f.Proven && f.fromOwnWorkspace() && slices.Contains(f.To.Groups, GroupGit):
		return Decision{Allow, "built in: git hosts", "a workspace of yours asks, and the destination is a public git host, with the host key it publishes"}
	case f.Purpose == Login && f.Proven && (slices.Contains(f.To.Groups, GroupWorkspaces) || slices.Contains(f.To.Groups, GroupGit)):
		return Decision{Ask, "built in: ask", f.outside() + ", and no rule allows it"}
	case f.Purpose == Login && !f.Proven:
		return Decision{Ask, "built in: ask", "the asker does not prove which host it logs in to"}
	case f.Purpose == Login:
		return Decision{Ask, "built in: ask", "no rule decides about this destination"}
	}
	return Decision{Ask, "built in: ask", "no rule decides about this signature for a remote asker"}
}

// outside returns the reason for which a workspace or a git host is not simply allowed.
func (f Facts) outside() string {
	switch {
	case f.FromClaimed && slices.Contains(f.From.Groups, GroupWorkspaces):
		return "this agent signed no login to the workspace that the asker says it is in"
	case f.fromOwnWorkspace():
		return "the asker is in a workspace of another place"
	}
	return "the asker is in no workspace of yours"
}
