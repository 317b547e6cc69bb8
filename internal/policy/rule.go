package policy

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// rule is one entry of a policy file. A field that is nil was not written and
// matches everything; a field that was written matches only what it lists.
type rule struct {
	number  int // from 1
	line    int
	name    string
	verdict Verdict

	purposes  []string // login, session, data, git, sign:NAMESPACE, any
	from      []string // local, remote, @GROUP, SHA256:…, names
	to        []string // @GROUP, SHA256:…, names
	users     []string
	keys      []string       // SHA256:…, comments
	programs  []string       // paths; only of rules about sessions
	days      []time.Weekday // on which its hours begin
	start     clock          // of the hours in which it holds
	end       clock          // before start: on the next day
	always    bool           // no hours were written
	trustsAny bool           // of preset openssh: a login without proof of its destination is fine
}

// clock is a time of day in minutes.
type clock int

func (r *rule) label() string {
	if r.name == "" {
		return fmt.Sprintf("rule %d", r.number)
	}
	return fmt.Sprintf("rule %d: %s", r.number, r.name)
}

func (r *rule) decision() Decision {
	return Decision{r.verdict, r.label(), fmt.Sprintf("by line %d of the policy", r.line)}
}

// match is the result of comparing a rule, or a list of hosts, with a request.
type match int

const (
	differs  match = iota
	mayMatch       // it goes by names, and not all names are known
	matches
)

func (m match) String() string {
	switch m {
	case matches:
		return "matches"
	case mayMatch:
		return "may match"
	}
	return "does not match"
}

// compare reports whether the rule applies to f, and why not. A rule that allows
// applies only where that is certain.
func (r *rule) compare(f Facts) (match, string) {
	if why := r.mismatch(f); why != "" {
		return differs, why
	}
	from, to := matches, matches
	if r.from != nil {
		from = r.matchFrom(f)
	}
	if r.to != nil {
		to = r.matchTo(f)
	}
	switch {
	case from == differs:
		return differs, "it is not for askers at " + fromWord(f)
	case to == differs:
		return differs, "it is not for the destination " + f.To.String()
	case from == matches && to == matches:
		return matches, ""
	case r.verdict == Allow && !f.Proven && to == mayMatch:
		return differs, "it names destinations, and the asker proves none"
	case r.verdict == Allow:
		return differs, "it allows, and " + r.unnamed(f)
	}
	return mayMatch, r.unnamed(f)
}

// unnamed names the fact that is missing to decide whether the rule applies.
func (r *rule) unnamed(f Facts) string {
	switch {
	case r.to == nil || r.matchTo(f) != mayMatch:
		return fmt.Sprintf("not every name of the first host on the route is known (%s)", f.From)
	case !f.Proven:
		return "the asker does not prove which host it logs in to"
	case f.To.Partial:
		return fmt.Sprintf("not every name of the destination is known: one is hashed in known_hosts, or a file was not read (%s)", f.To)
	}
	return fmt.Sprintf("known_hosts has no name for the destination (%s)", f.To)
}

// mismatch returns the reason for which the rule does not apply to f for any hosts; empty means
// that the hosts decide.
func (r *rule) mismatch(f Facts) string {
	switch {
	case !r.isFor(f):
		return "it is not about " + purposeWord(f)
	case r.verdict == Allow && f.Remote && f.Purpose == Login && !f.Proven && !r.trustsAny:
		return "it allows, and the destination of this login is not proven"
	case r.to != nil && !f.enters():
		return "it is about destinations, and this is not a login"
	case r.users != nil && !f.enters():
		return "it is about users, and this is not a login"
	case r.users != nil && f.AnyUser && r.verdict == Deny:
		return "it is about certain users, and the user is not known yet"
	case r.users != nil && !f.AnyUser && !r.matchUser(f.User):
		return "it is not for the user " + printable(f.User)
	case r.keys != nil && !matchKey(r.keys, f.Key):
		return "it is not for the key " + f.Key.String()
	case r.programs != nil && !r.matchProgram(f.Programs):
		return "it is not for the programs that ask"
	case !r.holdsAt(f.When):
		return "it does not hold at " + f.When.Format("Mon 15:04")
	}
	return ""
}

// isFor reports whether the rule is about this purpose. Data of an unknown kind
// must be named: "any" would hide how much it gives away.
func (r *rule) isFor(f Facts) bool {
	for _, p := range r.purposes {
		switch {
		case p == "any" && f.Purpose != Data,
			p == "login" && f.Purpose == Login,
			p == "session" && f.Purpose == Session,
			p == "data" && f.Purpose == Data,
			p == "git" && f.Purpose == Signature && f.Namespace == "git":
			return true
		}
		if pattern, ok := strings.CutPrefix(p, "sign:"); ok && f.Purpose == Signature && Match(pattern, f.Namespace) {
			return true
		}
	}
	return false
}

// enters reports whether f is about a user of a host.
func (f Facts) enters() bool { return f.Purpose == Login || f.Purpose == Session }

// matchUser reports whether the rule names the user. A directory takes CORP\Ada for
// corp\ada, so case counts only for rules that allow.
func (r *rule) matchUser(user string) bool {
	return anyGlob(r.users, user) ||
		r.verdict != Allow && slices.ContainsFunc(r.users, func(p string) bool { return Match(strings.ToLower(p), strings.ToLower(user)) })
}

// matchProgram reports whether the rule names one of the programs. A program
// that cannot be named may be any, to rules that do not allow.
func (r *rule) matchProgram(programs []string) bool {
	for _, p := range programs {
		if p == "" && r.verdict != Allow || p != "" && anyGlob(r.programs, p) {
			return true
		}
	}
	return len(programs) == 0 && r.verdict != Allow
}

func purposeWord(f Facts) string {
	if f.Purpose == Signature {
		return "signatures in the namespace " + printable(f.Namespace)
	}
	return string(f.Purpose)
}

func (r *rule) matchFrom(f Facts) match {
	for _, p := range r.from {
		if p == "local" && !f.Remote || p == "remote" && f.Remote {
			return matches
		}
	}
	if !f.Remote {
		return differs
	}
	return r.matchHost(r.from, f.From)
}

// matchTo is matchHost for the destination. One that is not proven may be any.
func (r *rule) matchTo(f Facts) match {
	if !f.Proven {
		return mayMatch
	}
	return r.matchHost(r.to, f.To)
}

func fromWord(f Facts) string {
	if !f.Remote {
		return "this machine"
	}
	return f.From.String()
}

// matchHost reports whether one of the patterns is the host. Where not every name of
// the host is known, a pattern of names may be.
func (r *rule) matchHost(patterns []string, h Host) match {
	m := differs
	for _, p := range patterns {
		group, isGroup := strings.CutPrefix(p, "@")
		switch {
		case h.Known() && (isGroup && slices.Contains(h.Groups, group) || p == h.Fingerprint || !isGroup && r.matchName(p, h)):
			return matches
		case byName(p) && h.nameless():
			m = mayMatch
		}
	}
	return m
}

// matchName ignores case, as host names do. A host that is known at another port than 22, as
// [NAME]:PORT, is also NAME for rules that do not allow. Another server may listen at that port,
// which the user never meant to allow, but it is on no other machine.
func (r *rule) matchName(pattern string, h Host) bool {
	pattern = strings.ToLower(pattern)
	for _, name := range h.Names {
		name = strings.ToLower(name)
		if Match(pattern, name) {
			return true
		}
		host, _, err := net.SplitHostPort(name)
		if err == nil && strings.HasPrefix(name, "[") && r.verdict != Allow && Match(pattern, host) {
			return true
		}
	}
	return false
}

// byName reports whether a pattern compares names, and not proved facts.
func byName(pattern string) bool {
	return !strings.HasPrefix(pattern, "@") && !strings.HasPrefix(pattern, "SHA256:") && pattern != "local" && pattern != "remote"
}

func matchKey(patterns []string, k Key) bool {
	for _, p := range patterns {
		if p == k.Fingerprint || k.Comment != "" && Match(p, k.Comment) {
			return true
		}
	}
	return false
}

// holdsAt reports whether the rule holds at t, by the clock and the calendar of t's
// location. Hours over midnight belong to the day on which they begin.
func (r *rule) holdsAt(t time.Time) bool {
	day, now := t.Weekday(), clock(t.Hour()*60+t.Minute())
	switch {
	case r.always:
	case r.start < r.end:
		if now < r.start || r.end <= now {
			return false
		}
	case now < r.end: // they began the day before
		day = (day + 6) % 7
	case now < r.start:
		return false
	}
	return r.days == nil || slices.Contains(r.days, day)
}

func anyGlob(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return Match(p, s) })
}

// Match reports whether s is of the form pattern, in which * stands for any bytes
// and ? for one: ssh_config(5), PATTERNS, without lists. It never takes more than len(pattern)·len(s) steps, whatever a
// remote asker puts into s.
func Match(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
