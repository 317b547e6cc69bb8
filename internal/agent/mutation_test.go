package agent

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"
)

// mutant is one check of ours taken away. The suite must notice.
type mutant struct {
	name     string
	file     string // below internal/
	old, new string
}

var mutants = []mutant{
	// What OpenSSH's own tests of its agent are blind to, and the first things that
	// an agent must not get wrong.
	{"bind signature unchecked", "agent/bind.go",
		"if err := verify(key, session, sigBlob); err != nil {", "if err := verify(key, session, sigBlob); false && err != nil {"},
	{"session id unmatched", "agent/judge.go",
		"case !bytes.Equal(c.session, last.session):\n\t\treturn \"the login", "case false:\n\t\treturn \"the login"},
	{"host key in data unchecked", "agent/judge.go",
		"case c.hostKey != nil && !bytes.Equal(c.hostKey, last.blob):\n\t\treturn \"the login", "case false:\n\t\treturn \"the login"},
	{"rebind after authentication accepted", "agent/bind.go", "case !old.forwarding:", "case false:"},
	{"failed bind forgotten", "agent/extension.go", "c.way.taint = err.Error()", "_ = err"},
	{"forwarded latch reset", "agent/extension.go", "c.way.remote || binds[0].forwarding", "b.forwarding"},
	{"user ignored", "agent/destination.go", `case user != nil && d.to.user != "" && !policy.Match(d.to.user, *user):`, "case false:"},
	{"principal ignored", "agent/destination.go", "if policy.Match(strings.ToLower(principal), strings.ToLower(name)) {", "if true {"},
	{"list unfiltered", "agent/list.go", "d.Verdict == policy.Allow {\n\t\t\tlist", "true {\n\t\t\tlist"},
	{"constraint dropped", "agent/change.go", "destinations: c.destinations,", ""},
	{"unknown data signed", "policy/decide.go", `Decision{Deny, "built in: unknown data",`, `Decision{Allow, "built in: unknown data",`},
	{"remote add allowed", "policy/decide.go", "case f.Remote && f.Op != List && f.Op != Sign:", "case false:"},
	{"policy error allows", "policy/file.go", "return nil, fmt.Errorf(\"%s: %w\", path, err)\n", "return Standard(), nil\n"},

	// Whatever else a line of code decides.
	{"SHA-1 believed", "agent/bind.go", "if sig.Format == ssh.KeyAlgoRSA ||", "if false && sig.Format == ssh.KeyAlgoRSA ||"},
	{"session bound to a second host", "agent/bind.go", "case sameSession && !sameKey:", "case sameSession && !sameKey && false:"},
	{"session bound for a second purpose", "agent/bind.go", "case sameSession && old.forwarding != b.forwarding:", "case false:"},
	{"any number of binds", "agent/bind.go", "if len(binds) >= maxBinds {", "if false {"},
	{"taint ignored", "agent/judge.go", `if w.taint != "" && op == policy.Sign {`, "if false {"},
	{"key in data unchecked", "agent/judge.go", "if c.purpose == policy.Login && !sameKey(c.key, h) {", "if false {"},
	{"data on a bound connection", "agent/judge.go", "case c.purpose == policy.Data:\n\t\treturn", "case false:\n\t\treturn"},
	{"forwarding hop taken for a destination", "agent/judge.go",
		"last != nil && !last.forwarding && c.purpose == policy.Login {", "last != nil && c.purpose == policy.Login {"},
	{"restricted key without a bind", "agent/judge.go", "case last == nil, c.purpose", "case last != nil && c.purpose"},
	{"restricted key off its way", "agent/judge.go", "case !permitted(h.destinations, w.binds, &c.user, now):", "case false:"},
	{"restricted key without the host key in the data", "agent/judge.go", "case len(w.binds) > 1 && c.hostKey == nil:", "case false:"},
	{"expired certificate shown", "agent/judge.go", "|| h.key.Expired(now)", ""},
	{"list unordered", "agent/list.go", "c.agent.keys.bestFirst(", "_ = any((*keyring).bestFirst); func(...any) {}("},
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
	{"forwarding socket taken for local", "agent/agent.go", "way: way{remote: remote}", "way: way{}"},
	{"locking does nothing", "agent/keyring.go", "k.locked = err == nil", "k.locked = false"},
	{"lists while locked", "agent/keyring.go", "if k.locked {\n\t\treturn nil\n", "if false {\n\t\treturn nil\n"},
	{"any password unlocks", "agent/keyring.go", "subtle.ConstantTimeCompare(hash, k.hash) != 1", "subtle.ConstantTimeCompare(hash, k.hash) > 1"},
	{"confirmation skipped", "agent/sign.go", "d.Verdict == policy.Allow && !h.confirm {", "d.Verdict == policy.Allow {"},
	{"closed window allows", "agent/pinentry.go", ` && !slices.Contains(a.status, "BUTTON_INFO close"):`, ":"},
	{"unwritten button allows", "agent/pinentry.go", "refused.code == gpgNotConfirmed && graded &&", "refused.code == gpgNotConfirmed && (graded || true) &&"},
	{"any certificate is taken", "agent/files.go", "if !ok || checkCertificate(cert, time.Now()) != nil {", "if !ok {"},
	{"certificate without what was put on the key", "agent/files.go", "h := *base\n", "h := held{}\n"},
	{"remote latch lost in a handing over", "agent/handover.go", "c.number, c.way.remote, c.way.taint = readUint64(r), r.Byte() != 0, r.Text()", "c.number, _, c.way.taint = readUint64(r), r.Byte() != 0, r.Text()"},
	{"taint lost in a handing over", "agent/handover.go", "c.number, c.way.remote, c.way.taint = readUint64(r), r.Byte() != 0, r.Text()", "c.number, c.way.remote, _ = readUint64(r), r.Byte() != 0, r.Text()"},
	{"destinations lost in a handing over", "agent/handover.go", "if err == nil && len(h.restriction) > 0 {", "if false {"},
	{"confirm lost in a handing over", "agent/handover.go", "w = appendBool(w, h.confirm)", "w = appendBool(w, false)"},
	{"lock lost in a handing over", "agent/handover.go", "k.locked = r.Byte() != 0", "k.locked = r.Byte() > 1"},
	{"idle keys stay", "agent/away.go", "case f.Idle > 0 && idle >= f.Idle:", "case false && idle >= f.Idle:"},
	{"keys stay over sleep", "agent/away.go", "case f.Sleep && slept > sleepSlack:", "case false && slept > sleepSlack:"},
	{"upstream not told of binds", "agent/upstream.go", "for _, b := range binds[u.told:] {", "for _, b := range binds[:0] {"},
	{"upstream's keys while locked", "agent/upstream.go", `if c.upstreamPath() == "" || c.agent.keys.isLocked() {`, `if c.upstreamPath() == "" {`},
	{"unlogged for remote askers", "agent/sign.go", "if c.way.remote {", "if false {"},
	{"changes without leave", "agent/connection.go", "if d.Verdict != policy.Allow {", "if false {"},
	{"remote askers manage", "agent/extension.go", "if d.Verdict != policy.Allow || c.agent.keys.isLocked() {", "if false {"},
	{"answer for another question", "policy/decide.go", "if g.Scope == scope && (", "if (g.Scope == scope || true) && ("},
	{"answers hold for ever", "policy/decide.go", "g.Until.IsZero() || f.When.Before(g.Until)", "true"},
	{"violation allowed", "policy/decide.go", `case f.Violation != "":`, "case false:"},
	{"asking allows", "policy/decide.go", `Decision{Ask, "built in: ask", "no rule says whether this destination is fine"}`, `Decision{Allow, "built in: ask", "x"}`},
	{"no policy allows", "policy/decide.go", `return Decision{Deny, "built in: no policy",`, `return Decision{Allow, "built in: no policy",`},
	{"rule's user ignored", "policy/rule.go", "!f.AnyUser && !anyGlob(r.users, f.User):", "false:"},
	{"rule without proof", "policy/rule.go", "f.Purpose == Login && !f.Proven && !r.trustsAny:", "false:"},
	{"unknown host matches", "policy/rule.go", "if !h.Known() {", "if false {"},
}

// notForMutants are tests that are slow, or say nothing about our code.
const notForMutants = "^(TestMutants|TestNoNetwork|(Test|Fuzz)AgainstSSHAgent|TestManyConnections|TestRoomIsMade|TestRealPinentries|TestForgetsAsLogindSays)$"

// TestMutants runs the suite against each mutant.
func TestMutants(t *testing.T) {
	suites := buildMutants(t)
	// What catches a mutant has to be the mutant.
	for _, suite := range suites {
		if runMutant(t, suite, none) {
			t.Fatalf("%s fails without a mutant", suite)
		}
	}
	for i, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for _, suite := range suites {
				if runMutant(t, suite, i) {
					return
				}
			}
			t.Error("nothing noticed")
		})
	}
}

// runMutant says whether the tests of a package noticed that mutant.
func runMutant(t *testing.T, suite string, i int) (caught bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	// A mutant that panics removes nothing of what its tests have made.
	dir, err := os.MkdirTemp("", "kwm")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	run := exec.CommandContext(ctx, suite, "-test.failfast", "-test.timeout=60s", "-test.skip="+notForMutants)
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
