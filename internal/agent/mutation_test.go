package agent

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mutant is a change that removes one check. The suite must fail.
type mutant struct {
	name     string
	file     string // below internal/
	old, new string
}

var mutants = []mutant{
	// Mutants that OpenSSH's own tests of its agent do not notice, and the first mistakes that an
	// agent must not make.
	{"bind signature unchecked", "agent/bind.go",
		"if err := verify(key, session, sigBlob); err != nil {", "if err := verify(key, session, sigBlob); false && err != nil {"},
	{"session id unmatched", "agent/judge.go",
		"case !bytes.Equal(c.session, last.session):\n\t\treturn \"the login", "case false:\n\t\treturn \"the login"},
	{"host key in data unchecked", "agent/judge.go",
		"case c.hostKey != nil && !bytes.Equal(c.hostKey, last.blob):\n\t\treturn \"the login", "case false:\n\t\treturn \"the login"},
	{"rebind after authentication accepted", "agent/bind.go", "if n := len(binds); n > 0 && !binds[n-1].forwarding {", "if false {"},
	{"failed bind forgotten", "agent/judge.go", "r.untrusted = err.Error()", "_ = err"},
	{"forwarded latch reset", "agent/judge.go", "r.remote = r.remote || binds[0].forwarding", "r.remote = b.forwarding"},
	{"user ignored", "agent/destination.go", `case user != nil && d.to.user != "" && !policy.Match(d.to.user, *user):`, "case false:"},
	{"principal ignored", "agent/destination.go", "if policy.Match(strings.ToLower(principal), strings.ToLower(name)) {", "if true {"},
	{"list unfiltered", "agent/list.go", "d.Verdict == policy.Allow {\n\t\t\tlist", "true {\n\t\t\tlist"},
	{"constraint dropped", "agent/change.go", "destinations: c.destinations,", ""},
	{"unknown data signed", "policy/decide.go", `Decision{Deny, "built in: unknown data",`, `Decision{Allow, "built in: unknown data",`},
	{"remote add allowed", "policy/decide.go", "case f.Remote && f.Op != List && f.Op != Sign:", "case false:"},
	{"policy error allows", "policy/file.go", "return nil, fmt.Errorf(\"%s: %w\", path, err)\n", "return Standard(), nil\n"},

	{"session for a remote asker", "policy/decide.go", "f.Purpose == Session && (f.Remote || !f.Proven):", "f.Purpose == Session && !f.Proven:"},
	{"session with a key to be confirmed", "agent/session.go", "case h.confirm:", "case false:"},
	{"session against the rules about logins", "agent/session.go", "if login.Verdict != policy.Allow {", "if false {"},
	{"session against the rules about sessions", "agent/session.go", "d := p.Decide(f, nil)", "d := policy.Decision{Verdict: policy.Allow}"},
	{"session that nobody logs", "agent/session.go", "if err := c.agent.log(e); err != nil {\n\t\t\treturn jsonResponse", "if false {\n\t\t\treturn jsonResponse"},

	// Mutants of all other decisions.
	{"SHA-1 believed", "agent/bind.go", "if sig.Format == ssh.KeyAlgoRSA {", "if false && sig.Format == ssh.KeyAlgoRSA {"},
	{"session bound to a second host", "agent/bind.go", "case sameSession && !sameKey:", "case sameSession && !sameKey && false:"},
	{"session bound for a second purpose", "agent/bind.go", "case sameSession && old.forwarding != b.forwarding:", "case false:"},
	{"any number of binds", "agent/bind.go", "if len(binds) >= maxBinds {", "if false {"},
	{"untrusted connection believed", "agent/judge.go", `if r.untrusted != "" && op == policy.Sign {`, "if false {"},
	{"key in data unchecked", "agent/judge.go", "if c.purpose == policy.Login && !sameKey(c.key, h) {", "if false {"},
	{"data on a bound connection", "agent/judge.go", "case c.purpose == policy.Data:\n\t\treturn", "case false:\n\t\treturn"},
	{"forwarding hop taken for a destination", "agent/judge.go",
		"last != nil && !last.forwarding && c.purpose == policy.Login {", "last != nil && c.purpose == policy.Login {"},
	{"restricted key without a bind", "agent/judge.go", "case last == nil, c.purpose", "case last != nil && c.purpose"},
	{"restricted key off its way", "agent/judge.go", "case !permitted(h.destinations, r.binds, &c.user, now):", "case false:"},
	{"restricted key without the host key in the data", "agent/judge.go", "case len(r.binds) > 1 && c.hostKey == nil:", "case false:"},
	{"expired certificate shown", "agent/judge.go", "|| h.key.Expired(now)", ""},
	{"list unordered", "agent/list.go", "a.keys.bestFirst(", "_ = any((*keyring).bestFirst); func(...any) {}("},
	{"user certificate for a host", "agent/destination.go", "cert.CertType != ssh.HostCert ||", ""},
	{"certificate's time ignored", "agent/destination.go", "return checker.CheckCert(principal, cert) == nil", "_ = checker; return true"},
	{"first hop ignored", "agent/destination.go", "case from == nil && !d.from.isOrigin():", "case false:"},
	{"from ignored", "agent/destination.go", "case from != nil && (d.from.isOrigin() || !d.from.reaches(from, now)):", "case false:"},
	{"no way on, key shown", "agent/destination.go",
		"return !binds[len(binds)-1].forwarding || allows(list, from, nil, nil, now)", "return true"},
	{"confirm dropped", "agent/change.go", "confirm: c.confirm,", ""},
	{"lifetime dropped", "agent/change.go", "life := c.lifetime", "life := c.lifetime * 0"},
	{"default lifetime dropped", "agent/change.go", "life = a.config.Lifetime", ""},
	{"number of signatures dropped", "agent/change.go", "limited: c.maxSigns > 0,", ""},
	{"provider from anywhere", "agent/change.go", "if !c.agent.mayLoad(path) {\n\t\treturn done,", "if false {\n\t\treturn done,"},
	{"unknown constraint ignored", "agent/constraint.go", `err = fmt.Errorf("a constraint %d that is not known", kind)`, ""},
	{"unknown constraint extension ignored", "agent/constraint.go", `err = fmt.Errorf("a constraint %.64q that is not known here", name)`, "r.String()"},
	{"forwarding socket taken for local", "agent/quota.go", "route: route{remote: remote, far: remote}", "route: route{}"},
	{"locking does nothing", "agent/keyring.go", "k.locked = err == nil", "k.locked = false"},
	{"lists while locked", "agent/keyring.go", "if k.locked {\n\t\treturn nil\n", "if false {\n\t\treturn nil\n"},
	{"any password unlocks", "agent/keyring.go", "subtle.ConstantTimeCompare(hash, k.hash) != 1", "subtle.ConstantTimeCompare(hash, k.hash) > 1"},
	{"confirmation skipped", "agent/sign.go", "d.Verdict == policy.Allow && !h.confirm {", "d.Verdict == policy.Allow {"},
	{"closed window allows", "agent/pinentry.go", ` && !slices.Contains(a.status, "BUTTON_INFO close"):`, ":"},
	{"unwritten button allows", "agent/pinentry.go", "refused.code == gpgNotConfirmed && graded &&", "refused.code == gpgNotConfirmed && (graded || true) &&"},
	{"any certificate is taken", "agent/files.go", "if !ok || checkCertificate(cert, time.Now()) != nil {", "if !ok {"},
	{"certificate without what was put on the key", "agent/files.go", "h := *base\n", "h := held{}\n"},
	{"remote latch lost in a handing over", "agent/handover.go", "c.number, c.route.remote, c.route.untrusted = readUint64(r), r.Byte() != 0, r.Text()", "c.number, _, c.route.untrusted = readUint64(r), r.Byte() != 0, r.Text()"},
	{"untrusted lost in a handover", "agent/handover.go", "c.number, c.route.remote, c.route.untrusted = readUint64(r), r.Byte() != 0, r.Text()", "c.number, c.route.remote, _ = readUint64(r), r.Byte() != 0, r.Text()"},
	{"destinations lost in a handing over", "agent/handover.go", "if err == nil && len(h.restriction) > 0 {", "if false {"},
	{"confirm lost in a handing over", "agent/handover.go", "w = appendBool(w, h.confirm)", "w = appendBool(w, false)"},
	{"lock lost in a handing over", "agent/handover.go", "k.locked = r.Byte() != 0", "k.locked = r.Byte() > 1"},
	{"idle keys stay", "agent/away.go", "case f.Idle > 0 && idle >= f.Idle:", "case false && idle >= f.Idle:"},
	{"keys stay over sleep", "agent/away.go", "case f.Sleep && slept > sleepSlack:", "case false && slept > sleepSlack:"},
	{"upstream not told of binds", "agent/upstream.go", "for _, b := range binds[u.told:] {", "for _, b := range binds[:0] {"},
	{"upstream's keys while locked", "agent/upstream.go", `if c.upstreamPath() == "" || c.agent.keys.isLocked() {`, `if c.upstreamPath() == "" {`},
	{"unlogged for remote askers", "agent/sign.go", "if c.route.remote {", "if false {"},
	{"changes without leave", "agent/connection.go", "if d.Verdict != policy.Allow {", "if false {"},
	{"remote askers manage", "agent/extension.go", "if d.Verdict != policy.Allow || c.agent.keys.isLocked() {", "if false {"},
	{"answer for another question", "policy/decide.go", "if g.Scope == scope && (", "if (g.Scope == scope || true) && ("},
	{"answers hold for ever", "policy/decide.go", "g.Until.IsZero() || f.When.Before(g.Until)", "true"},
	{"violation allowed", "policy/decide.go", `case f.Violation != "":`, "case false:"},
	{"asking allows", "policy/decide.go", `Decision{Ask, "built in: ask", "no rule decides about this destination"}`, `Decision{Allow, "built in: ask", "x"}`},
	{"no policy allows", "policy/decide.go", `return Decision{Deny, "built in: no policy",`, `return Decision{Allow, "built in: no policy",`},
	{"rule's user ignored", "policy/rule.go", "!f.AnyUser && !r.matchUser(f.User):", "false:"},
	{"rule without proof", "policy/rule.go", "f.Purpose == Login && !f.Proven && !r.trustsAny:", "false:"},
	{"unknown host matches", "policy/rule.go", "case h.Known() && (isGroup", "case (isGroup"},

	// Mutants of the judgement of a route's hosts.
	{"a host between believed without a login", "agent/judge.go", "if !k.logins.has(b) {", "if false {"},
	{"first host of the forwarding socket believed", "agent/judge.go", "f.FromClaimed = r.far && !k.logins.hasLocal(r.binds[0])", "f.FromClaimed = false"},
	{"a remote asker's login vouches for the first host", "agent/judge.go", "f.FromClaimed = r.far && !k.logins.hasLocal(r.binds[0])", "f.FromClaimed = r.far && !k.logins.has(r.binds[0])"},
	{"an asker that binds nothing counts as here", "agent/judge.go", "f.FromClaimed, f.Unverified, f.Route = true, []policy.Host{{}}, routeOf(r.binds)", ""},
	{"logins lost in a handing over", "agent/handover.go", "a.logins.take(s.Logins)", "_ = s.Logins"},
	{"forwarding socket lost in a handing over", "agent/handover.go", "c.route.far = c.route.remote && !slices.Contains(near, c.number)", "_ = slices.Contains(near, c.number)"},
	{"forged way allowed", "policy/decide.go", "case f.Constraint == Permits && len(f.Unverified) > 0 && p.preset != openSSH:", "case false:"},
	{"answer about another way", "policy/decide.go", "Route: f.Route,", ""},
	{"workspaces from anywhere", "policy/decide.go", "f.Proven && f.fromOwnWorkspace() && slices.Contains(f.To.Groups, GroupWorkspaces) &&", "f.Proven && slices.Contains(f.To.Groups, GroupWorkspaces) &&"},
	{"git hosts from anywhere", "policy/decide.go", "f.Proven && f.fromOwnWorkspace() && slices.Contains(f.To.Groups, GroupGit):", "f.Proven && slices.Contains(f.To.Groups, GroupGit):"},
	{"workspaces of another place", "policy/decide.go", "&& f.To.Place == f.From.Place:", ":"},
	{"hosts beyond a workspace", "policy/facts.go", "for _, h := range f.Claimed {\n\t\tif !slices.Contains(", "for _, h := range f.Claimed[:0] {\n\t\tif !slices.Contains("},
	{"a claimed first host is a workspace", "policy/facts.go", "if f.FromClaimed || !f.From.Known() ||", "if !f.From.Known() ||"},

	// Mutants of unknown names.
	{"unknown names slip past a rule", "policy/decide.go", "case doubt != nil:", "case false:"},
	{"unproven destinations slip past a rule", "policy/rule.go", "if !f.Proven {\n\t\treturn mayMatch", "if !f.Proven {\n\t\treturn differs"},
	{"a hashed name counts as none", "policy/facts.go", "len(h.Names) == 0 || h.Partial", "len(h.Names) == 0"},
	{"a port hides a name", "policy/rule.go", "r.verdict != Allow && Match(pattern, host)", "false && Match(pattern, host)"},
	{"a rule that allows may match", "policy/rule.go", "case r.verdict == Allow:\n\t\treturn differs", "case r.verdict == Allow:\n\t\treturn matches"},

	// Mutants of the bounds on requests.
	{"peer's user unchecked", "agent/peer.go", "if uid != 0 && uid != me {", "if false {"},
	{"another user served", "agent/connection.go", "if c.stranger != nil {", "if false {"},
	{"only the first three refusals of a connection logged", "agent/connection.go", "c.agent.noteRefusal(e)", "if c.refusals <= 3 {\n\t\tc.agent.noteRefusal(e)\n\t}"},
	{"refusals not slowed", "agent/refuse.go", "return min(s.next.Sub(now), slowMost),", "return 0,"},
	{"refusals never dropped", "agent/refuse.go", "who.remote && s.level > dropAfter", "false"},
	{"counted refusals lost", "audit/fold.go", "k.more++", ""},
	{"remote connections end those of this machine", "agent/quota.go", "if o == c || o.remote != c.remote || o.peer.pid != pid {", "if o == c || o.peer.pid != pid {"},
	{"any number of connections through one ssh", "agent/quota.go", "|| most[pid] < maxRemotePerPeer {", "|| true {"},
	{"bound connections count as of this machine", "agent/extension.go", "c.agent.turnRemote(c)", "_ = c"},
	{"questions unlimited overall", "agent/ask.go", "if mine >= maxPerMinute || len(q.recent) >= maxAllPerMinute {", "if mine >= maxPerMinute {"},
	{"each made up host may ask", "agent/ask.go", "if f.FromClaimed {", "if false {"},
	{"no room for questions of this machine", "agent/ask.go", "return remote < maxRemotePending && mine < maxPending", "return true"},
	{"no turn for questions of this machine", "agent/ask.go", "if q.Facts.Remote {\n\t\tturns", "if false {\n\t\tturns"},

	// Mutants of the log.
	{"refusals push out uses", "audit/rotate.go", "keeps(e) && e.Seq > last", "keeps(Event{Verdict: Denied}) && e.Seq > last"},
	{"a removed file unseen", "audit/read.go", "case c.first.Seq > r.Oldest:", "case false:"},
	{"a removed file forgotten", "audit/rotate.go", "is.Oldest > next && next > 0 &&", "is.Oldest > next && next > 0 && false &&"},
	{"the newest file's removal unseen", "audit/read.go", "case len(list) > 0 && c.last.Event == Rotate && list[len(list)-1] != c.path:", "case false:"},
	{"kept lines changed", "audit/read.go", "case hash == r.Hash && n == r.Kept:", "case (hash == r.Hash || true) && n == r.Kept:"},
	{"kept lines removed", "audit/read.go", "if r.Kept > 0 {", "if false {"},
	{"an earlier version's log begins anywhere for ever", "audit/log.go", "if err == nil && !l.end.begun {", "if false {"},
}

// notForMutants are tests that are slow, or do not test keyway's code.
const notForMutants = "^(TestMutants|TestNoNetwork|(Test|Fuzz)AgainstSSHAgent|TestManyConnections|TestRoomIsMade|TestRealPinentries|TestForgetsAsLogindSays|TestFloodOfRefusals)$"

// forMutants are the tests that run against a mutant, in two parts: the model takes longer than all
// others together, and runs if none of them has noticed.
var forMutants = []string{"-test.skip=" + notForMutants + "|^TestModel$", "-test.run=^TestModel$"}

// TestMutantsFollowTheCode checks that each mutant applies to the present source.
func TestMutantsFollowTheCode(t *testing.T) {
	for _, m := range mutants {
		source, err := os.ReadFile(filepath.Join("..", m.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), m.old); n != 1 {
			t.Errorf("%s: %q is in %s %d times", m.name, m.old, m.file, n)
		}
	}
}

// TestMutants checks that the suite fails for each mutant.
func TestMutants(t *testing.T) {
	suites := buildMutants(t)
	// The suite must fail because of the mutant.
	for _, s := range suites {
		for _, tests := range forMutants {
			if runMutant(t, s.program, tests, none) {
				t.Fatalf("the tests of %s fail without a mutant", s.pkg)
			}
		}
	}
	for i, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for _, s := range suites {
				for _, tests := range forMutants {
					if s.has(m.file) && runMutant(t, s.program, tests, i) {
						return
					}
				}
			}
			t.Error("nothing noticed")
		})
	}
}

// runMutant reports whether those tests of a package's program noticed that mutant.
func runMutant(t *testing.T, program, tests string, i int) (caught bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	// A mutant that panics does not clean up after its tests.
	dir, err := os.MkdirTemp("", "kwm")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	run := exec.CommandContext(ctx, program, "-test.failfast", "-test.timeout=60s", tests)
	run.Env = append(os.Environ(), activeMutant+"="+suffix(i), "TMPDIR="+dir)
	out, err := run.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if bytes.Contains(out, []byte("panic: test timed out")) {
		t.Errorf("it is caught by waiting for it:\n%s", out[:min(len(out), 4000)])
	}
	return err != nil
}
