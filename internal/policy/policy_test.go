package policy

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var (
	monday = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	train  = Host{Fingerprint: "SHA256:train", Names: []string{"train"}, Groups: []string{GroupWorkspaces}, Place: "gpu1"}
	second = Host{Fingerprint: "SHA256:second", Names: []string{"second"}, Groups: []string{GroupWorkspaces}, Place: "gpu1"}
	far    = Host{Fingerprint: "SHA256:far", Names: []string{"far"}, Groups: []string{GroupWorkspaces}, Place: "gpu2"}
	gpu1   = Host{Fingerprint: "SHA256:gpu1", Names: []string{"gpu1", "gpu1.lab"}}
	github = Host{Fingerprint: "SHA256:github", Names: []string{"github.com"}, Groups: []string{GroupGit}}
	db1    = Host{Fingerprint: "SHA256:db1", Names: []string{"db1.lab"}}
	key    = Key{Fingerprint: "SHA256:key", Comment: "me@laptop"}
)

// login returns a valid request, after the changes.
func login(remote bool, to Host, change ...func(*Facts)) Facts {
	f := Facts{
		Op: Sign, When: monday, Remote: remote, Proven: true, To: to,
		Purpose: Login, User: "root", Key: key, Constraint: Unconstrained,
	}
	if remote {
		f.From = gpu1
	}
	for _, c := range change {
		c(&f)
	}
	return f
}

func from(h Host) func(*Facts) { return func(f *Facts) { f.From = h } }

// forged puts a host on the route that the agent did not log in to.
func forged(f *Facts) { f.Claimed, f.Unverified, f.Route = []Host{db1}, []Host{db1}, "a session" }

func TestBuiltIn(t *testing.T) {
	for _, c := range []struct {
		name              string
		f                 Facts
		standard, openssh Verdict
	}{
		{"local login", login(false, db1), Allow, Allow},
		{"local login of a program that does not bind", login(false, Host{}, func(f *Facts) { f.Proven = false }), Allow, Allow},
		{"local data", login(false, Host{}, func(f *Facts) { f.Purpose = Data; f.Proven = false }), Allow, Allow},
		{"local add", Facts{Op: Add}, Allow, Allow},
		{"remote list", Facts{Op: List, Remote: true}, Allow, Allow},
		{"a bastion to a workspace", login(true, train), Ask, Allow},
		{"a bastion to a git host", login(true, github), Ask, Allow},
		{"nobody knows who to a workspace", login(true, train, from(Host{})), Ask, Allow},
		{"a workspace to one of its place", login(true, second, from(train)), Allow, Allow},
		{"a workspace to one of another place", login(true, far, from(train)), Ask, Allow},
		{"a workspace to a git host", login(true, github, from(train)), Allow, Allow},
		{"a workspace to a git host that it does not prove", login(true, github, from(train), func(f *Facts) { f.Proven = false }), Ask, Allow},
		{"a workspace that nobody vouches for", login(true, github, from(train), func(f *Facts) { f.FromClaimed = true }), Ask, Allow},
		{"a host beyond a workspace", login(true, github, from(train), func(f *Facts) { f.Claimed = []Host{gpu1} }), Ask, Allow},
		{"a workspace beyond a workspace", login(true, github, from(train), func(f *Facts) { f.Claimed = []Host{second} }), Allow, Allow},
		{"remote to a host nobody knows", login(true, db1), Ask, Allow},
		{"remote without proof", login(true, train, func(f *Facts) { f.Proven = false }), Ask, Allow},
		{"remote git signature", login(true, Host{}, func(f *Facts) { f.Purpose = Signature; f.Namespace = "git" }), Ask, Allow},
		{"remote data", login(true, Host{}, func(f *Facts) { f.Purpose = Data }), Deny, Allow},
		{"the key's own destination", login(true, db1, func(f *Facts) { f.Constraint = Permits }), Allow, Allow},
		{"the key's own destination, on a route that was forged", login(true, db1, forged, func(f *Facts) { f.Constraint = Permits }), Ask, Allow},
		{"beyond the key's own destinations", login(true, train, func(f *Facts) { f.Constraint = Refuses }), Deny, Deny},
		{"beyond them, locally", login(false, train, func(f *Facts) { f.Constraint = Refuses }), Deny, Deny},
		{"constraint nobody looked at", login(false, train, func(f *Facts) { f.Constraint = "" }), Deny, Deny},
		{"purpose nobody looked at", login(false, train, func(f *Facts) { f.Purpose = "" }), Deny, Deny},
		{"violation", login(false, train, func(f *Facts) { f.Violation = "it lies" }), Deny, Deny},
		{"remote add", Facts{Op: Add, Remote: true}, Deny, Deny},
		{"remote remove", Facts{Op: Remove, Remote: true}, Deny, Deny},
		{"remote lock", Facts{Op: Lock, Remote: true}, Deny, Deny},
		{"remote load", Facts{Op: Load, Remote: true}, Deny, Deny},
		{"remote manage", Facts{Op: Manage, Remote: true}, Deny, Deny},
	} {
		if d := Standard().Decide(c.f, nil); d.Verdict != c.standard || d.Reason == "" || d.Rule == "" {
			t.Errorf("%s: %+v, want %v", c.name, d, c.standard)
		}
		if d := OpenSSH().Decide(c.f, nil); d.Verdict != c.openssh {
			t.Errorf("%s, preset openssh: %+v, want %v", c.name, d, c.openssh)
		}
	}
}

func TestZeroValueRefuses(t *testing.T) {
	for _, p := range []*Policy{nil, {}} {
		if d := p.Decide(login(false, train), nil); d.Verdict != Deny {
			t.Errorf("%+v", d)
		}
	}
	if (Decision{}).Verdict != Deny {
		t.Error("the zero decision does not deny")
	}
	if d := Standard().Decide(Facts{}, nil); d.Verdict == Allow && d.Rule == "" {
		t.Errorf("%+v", d)
	}
}

const example = `
rules:
  - name: never production
    deny: any
    to: ["prod-*", db1.lab]
  - name: git hosts
    allow: [login, git]
    from: train
  - ask: login
    user: root
    hours: 22:00-06:00
  - allow: sign:file
    from: remote
    key: ["me@*"]
    days: [mon-fri]
  - allow: login
    from: [gpu1]
    to: ["*"]
`

func TestRules(t *testing.T) {
	p, err := Parse([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	night := func(f *Facts) { f.When = monday.Add(13 * time.Hour) }
	sign := func(f *Facts) { f.Purpose, f.Namespace = Signature, "file" }
	for _, c := range []struct {
		name string
		f    Facts
		want Verdict
		rule string
	}{
		{"first match wins, also over what is built in", login(false, db1), Deny, "rule 1: never production"},
		{"from a workspace", login(true, github, func(f *Facts) { f.From = train }), Allow, "rule 2: git hosts"},
		{"an allow rule needs proof", login(true, github, func(f *Facts) { f.From = train; f.Proven = false }), Ask, "built in: ask"},
		{"at night", login(true, train, night), Ask, "rule 3"},
		{"at night, as another user", login(true, train, night, func(f *Facts) { f.User = "me" }), Allow, "rule 5"},
		{"names without a key are nobody's", login(true, Host{Names: []string{"x"}}), Ask, "built in: ask"},
		{"signature on a weekday", login(true, Host{}, sign), Allow, "rule 4"},
		{"signature on a Sunday", login(true, Host{}, sign, func(f *Facts) { f.When = monday.Add(-24 * time.Hour) }), Ask, "built in: ask"},
		{"a star is every known host", login(true, train), Allow, "rule 5"},
		{"a star is not the unknown one", login(true, Host{}), Ask, "built in: ask"},
		{"a user that is not known yet", login(true, train, func(f *Facts) { f.User, f.AnyUser = "", true }), Allow, "rule 5"},
		{"data must be named", login(true, Host{}, func(f *Facts) { f.Purpose = Data }), Deny, "built in: unknown data"},
	} {
		if d := p.Decide(c.f, nil); d.Verdict != c.want || d.Rule != c.rule {
			t.Errorf("%s: %+v, want %v by %s", c.name, d, c.want, c.rule)
		}
	}
	d, trace := p.Explain(login(true, train), nil)
	if d.Rule != "rule 5" || len(trace) != 4 || !strings.Contains(trace[0], "(line 3)") {
		t.Errorf("%+v %q", d, trace)
	}
}

func TestGrants(t *testing.T) {
	f := login(true, db1)
	grants := []Grant{{Scope: ScopeOf(f), Verdict: Allow, Until: monday.Add(time.Minute)}}
	if d := Standard().Decide(f, grants); d.Verdict != Allow || d.Rule != "answer" {
		t.Errorf("%+v", d)
	}
	for name, change := range map[string]func(*Facts){
		"later":         func(f *Facts) { f.When = monday.Add(time.Minute) },
		"another user":  func(f *Facts) { f.User = "admin" },
		"another key":   func(f *Facts) { f.Key.Fingerprint = "SHA256:other" },
		"another hop":   func(f *Facts) { f.From = Host{Fingerprint: "SHA256:else"} },
		"another host":  func(f *Facts) { f.To = Host{Fingerprint: "SHA256:else"} },
		"without proof": func(f *Facts) { f.Proven = false },
		"another route": forged,
		"for git":       func(f *Facts) { f.Purpose, f.Namespace = Signature, "git" },
	} {
		g := login(true, db1)
		change(&g)
		if d := Standard().Decide(g, grants); d.Verdict != Ask {
			t.Errorf("%s: %+v", name, d)
		}
	}
	for text, want := range map[string]Verdict{"deny: login": Deny, "allow: login": Allow, "ask: login": Deny} {
		rules, err := Parse([]byte("rules:\n  - " + text + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if d := rules.Decide(f, []Grant{{Scope: ScopeOf(f)}}); d.Verdict != want {
			t.Errorf("%s: an earlier no makes it %+v", text, d)
		}
	}
	g := login(true, db1, func(f *Facts) { f.Violation = "it lies" })
	if d := Standard().Decide(g, []Grant{{Scope: ScopeOf(g), Verdict: Allow}}); d.Verdict != Deny {
		t.Errorf("an answer overrules verification: %+v", d)
	}
	if Grantable(login(true, db1, func(f *Facts) { f.Proven = false })) {
		t.Error("a login to an unproven host can be granted for a while")
	}
}

func TestBadFiles(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown field":      {"rules:\n  - allow: login\n    too: x\n", "line 3: field too"},
		"no verdict":         {"rules:\n  - to: x\n", "line 2: rule 1: it needs exactly one"},
		"two verdicts":       {"rules:\n  - allow: login\n    deny: login\n", "exactly one"},
		"unknown purpose":    {"rules:\n  - allow: logn\n", `"logn"`},
		"empty list":         {"rules:\n  - allow: login\n    to: []\n", "line 3"},
		"empty word":         {"rules:\n  - allow: login\n    to: ['']\n", "line 3"},
		"null":               {"rules:\n  - allow: login\n    to:\n", "line 3"},
		"unknown group":      {"rules:\n  - allow: login\n    to: '@gti'\n", "@gti"},
		"local destination":  {"rules:\n  - allow: login\n    to: local\n", "from"},
		"short fingerprint":  {"rules:\n  - allow: login\n    to: SHA256:abc\n", "fingerprint"},
		"bad hours":          {"rules:\n  - allow: login\n    hours: 25:00-26:00\n", "hours"},
		"bad day":            {"rules:\n  - allow: login\n    days: someday\n", "someday"},
		"bad preset":         {"rules: []\npreset: lax\n", "line 2: there is no preset"},
		"bad YAML":           {"rules: [\n", "line"},
		"two documents":      {"preset: openssh\n---\npreset: openssh\n", "more than one"},
		"a key twice":        {"preset: openssh\npreset: standard\n", "line 2"},
		"a list of nothing":  {"- a\n", "line 1"},
		"too large":          {strings.Repeat("#\n", maxFile), "bytes"},
		"unknown trigger":    {"rules: []\nforget: lunch\n", `line 2: "lunch" is not a trigger`},
		"relative upstream":  {"rules: []\nupstream: agent.sock\n", "line 2: upstream"},
		"verdict as a field": {"allow: login\n", "line 1"},
	} {
		p, err := Parse([]byte(c.text))
		if err == nil || p != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestNoFieldIsBlank checks that no field of the file means everything, or nothing, if its value is
// missing.
func TestNoFieldIsBlank(t *testing.T) {
	refused := func(before, field string) {
		t.Helper()
		for _, value := range []string{"", "''", "' '", "[]", "['']", "[' ']", "[any, '']", "' any'", "[any, 'any ']", "{}"} {
			text := before + field + ": " + value + "\n"
			if p, err := Parse([]byte(text)); err == nil || p != nil || !strings.Contains(err.Error(), "line ") {
				t.Errorf("%v: this is a policy:\n%s", err, text)
			}
		}
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[file]()) {
		if f.Name != "Rules" { // the file may have none: the preset decides
			refused("", f.Tag.Get("yaml"))
		}
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[fileRule]()) {
		switch field := f.Tag.Get("yaml"); field {
		case "allow", "ask", "deny":
			refused("rules:\n  - name: x\n    ", field)
		default:
			refused("rules:\n  - allow: session\n    ", field)
		}
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	p, err := Read(filepath.Join(dir, "absent"))
	if err != nil || p.preset != standard {
		t.Errorf("no file: %v", err)
	}
	if p, err := Read(dir); err == nil || p != nil {
		t.Error("a directory was read as a policy")
	}
	path := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(path, []byte("preset: openssh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := Read(path); err != nil || p.preset != openSSH {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(path, []byte("rules: 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := Read(path); err == nil || p != nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"*", "x", true}, {"a*c", "abbc", true}, {"a*c", "abb", false},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"", "", true}, {"", "a", false},
		{"*.lab", "db1.lab", true}, {"*.lab", "db1.lab.evil", false}, {"a**b", "ab", true},
	} {
		if Match(c.pattern, c.s) != c.want {
			t.Errorf("Match(%q, %q) is not %v", c.pattern, c.s, c.want)
		}
	}
	hostile := strings.Repeat("a", 1<<16)
	if Match(strings.Repeat("*a", 50)+"b", hostile) {
		t.Error("matched")
	}
}

// TestWordsAreSafeForATerminal checks that an asker cannot forge a second line in a question.
func TestWordsAreSafeForATerminal(t *testing.T) {
	f := login(true, db1, func(f *Facts) { f.User = "root\nAllowed: \x1b[2J" })
	if s := f.Who() + f.What(); strings.ContainsAny(s, "\n\x1b") {
		t.Errorf("%q", s)
	}
}

// TestRulesAboutAskersElsewhere checks that a rule about askers elsewhere does not apply to
// programs here.
func TestRulesAboutAskersElsewhere(t *testing.T) {
	p, err := Parse([]byte("rules:\n  - deny: any\n    from: [gpu1, \"*\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if d := p.Decide(login(false, db1), nil); d.Verdict != Allow {
		t.Errorf("a program here: %+v", d)
	}
	if d := p.Decide(login(true, db1), nil); d.Verdict != Deny {
		t.Errorf("an asker at gpu1: %+v", d)
	}
}

// TestWordsTellClaimedHosts checks that of several hosts on the route each is marked as claimed
// or not.
func TestWordsTellClaimedHosts(t *testing.T) {
	f := login(true, github, func(f *Facts) { f.Claimed, f.Unverified = []Host{train, db1}, []Host{db1} })
	if got, want := f.Who(), "gpu1, on behalf of train, on behalf of db1.lab (as it claims)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("preset: openssh\nrules:\n  - deny: any\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if (p == nil) == (err == nil) {
			t.Fatalf("%v %v", p, err)
		}
		if p != nil {
			p.Decide(login(true, db1), nil)
			if d := p.Decide(login(true, db1, func(f *Facts) { f.Violation = "x" }), nil); d.Verdict != Deny {
				t.Fatalf("%+v", d)
			}
		}
	})
}

// TestNamesThatAreNotKnown checks rules by name for hosts that have unknown names, too. If a rule
// that asks or denies may apply to such a host, the user is asked. A rule that might not apply to
// it never allows a request.
func TestNamesThatAreNotKnown(t *testing.T) {
	nameless := Host{Fingerprint: "SHA256:h"}
	partial := Host{Fingerprint: "SHA256:h", Names: []string{"10.0.0.5"}, Partial: true}
	named := Host{Fingerprint: "SHA256:h", Names: []string{"10.0.0.5"}}
	port := Host{Fingerprint: "SHA256:h", Names: []string{"[prod-1]:2222"}}
	upper := Host{Fingerprint: "SHA256:h", Names: []string{"Prod-1"}}
	unproven := func(f *Facts) { f.Proven = false }
	for _, c := range []struct {
		rules string
		f     Facts
		want  Verdict
	}{
		{"- {deny: any, to: ['prod-*']}", login(false, nameless), Ask},
		{"- {deny: any, to: ['prod-*']}", login(false, partial), Ask},
		{"- {deny: any, to: ['prod-*']}", login(false, named), Allow},
		{"- {deny: any, to: ['prod-*']}", login(false, port), Deny},
		{"- {deny: any, to: ['PROD-*']}", login(false, upper), Deny},
		{"- {deny: any, to: ['prod-*']}", login(false, Host{}, unproven), Ask},
		{"- {ask: login, to: ['prod-*']}", login(false, nameless), Ask},
		{"- {ask: login, to: ['prod-*']}", login(false, named), Allow},
		{"- {deny: any, to: ['prod-*'], user: admin}", login(false, nameless), Allow},
		{"- {deny: any, to: ['prod-*'], from: remote}", login(false, nameless), Allow},
		{`- {deny: any, user: 'CORP\ada'}`, login(false, db1, func(f *Facts) { f.User = `CORP\ada` }), Deny},
		{`- {deny: any, user: 'CORP\*'}`, login(false, db1, func(f *Facts) { f.User = `corp\ADA` }), Deny},
		{"- {ask: any, user: ada@corp.example.com}", login(false, db1, func(f *Facts) { f.User = "Ada@CORP.example.com" }), Ask},
		{"- {allow: login, user: ada@corp.example.com}", login(true, db1, func(f *Facts) { f.User = "ada@corp.example.com" }), Allow},
		{"- {allow: login, user: ada@corp.example.com}", login(true, db1, func(f *Facts) { f.User = "Ada@corp.example.com" }), Ask},
		{"- {deny: any, to: ['@git', 'SHA256:ybgmFkzwOSotHTHLJgHO0QN8L0xErw6vd0VhFA9m3SM']}", login(false, nameless), Allow},
		{"- {deny: any, to: ['@git']}", login(false, Host{}, unproven), Ask},
		{"- {deny: any, from: ['bastion']}", login(true, second, from(Host{Fingerprint: "SHA256:h", Names: []string{"x"}, Groups: train.Groups, Place: train.Place, Partial: true})), Ask},
		{"- {deny: any, from: ['bastion']}\n- {allow: login, to: ['*']}", login(true, db1, from(nameless)), Ask},
		{"- {deny: any, from: ['bastion']}\n- {allow: login, to: ['*']}", login(true, db1), Allow},
		{"- {deny: any, to: ['prod-*']}\n- {allow: login, to: ['*']}\n- {deny: any}", login(true, nameless), Deny},
		{"- {deny: any, to: ['prod-*']}\n- {allow: login, from: gpu1}", login(true, partial), Ask},
		{"- {allow: login, to: [db]}\n- {deny: any, to: ['prod-*']}", login(true, db1), Ask},
		{"- {allow: login, to: ['10.*']}", login(true, partial), Allow},
		{"- {allow: login, to: ['prod-*']}", login(true, partial), Ask},
		{"- {allow: login, to: ['prod-1']}", login(true, port), Ask},
		{"- {allow: login, to: ['[[]prod-1]:2222', '?prod-1?:2222']}", login(true, port), Allow},
		{"- {deny: any, to: ['prod-*']}\npreset: openssh", login(true, nameless), Ask},
	} {
		rules, preset, _ := strings.Cut(c.rules, "\npreset")
		text := "rules:\n  " + strings.ReplaceAll(rules, "\n", "\n  ") + "\n"
		if preset != "" {
			text += "preset" + preset + "\n"
		}
		p, err := Parse([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		d, trace := p.Explain(c.f, nil)
		if d.Verdict != c.want {
			t.Errorf("%s, to %+v: %+v, want %v %q", c.rules, c.f.To, d, c.want, trace)
		}
	}
}

func TestRulesAboutSessions(t *testing.T) {
	session := func(change ...func(*Facts)) Facts {
		return login(false, train, append(change, func(f *Facts) { f.Purpose = Session })...)
	}
	by := func(programs ...string) func(*Facts) { return func(f *Facts) { f.Programs = programs } }
	for _, c := range []struct {
		rules string
		f     Facts
		want  Verdict
	}{
		{"[]", session(), Allow},
		{"[]", session(func(f *Facts) { f.Remote = true }), Deny},
		{"[]", session(func(f *Facts) { f.Proven = false }), Deny},
		{"[{deny: session}]", session(), Deny},
		{"[{deny: any}]", session(), Deny},
		{"[{deny: login}]", session(), Allow}, // the agent asks for the login, too
		{"[{deny: session, to: train}]", session(), Deny},
		{"[{deny: session, to: db1.lab}]", session(), Allow},
		{"[{deny: session, user: root}]", session(), Deny},
		{"[{deny: session, program: '*/node'}]", session(by("/usr/bin/ssh", "/usr/bin/node")), Deny},
		{"[{deny: session, program: '*/node'}]", session(by("/usr/bin/ssh", "/usr/bin/bash")), Allow},
		{"[{deny: session, program: '*/node'}]", session(by("/usr/bin/ssh", "")), Deny},
		{"[{deny: session, program: '*/node'}]", session(), Deny},
		{"[{allow: session, program: '*/bash'}, {deny: session}]", session(by("/usr/bin/ssh", "/bin/bash")), Allow},
		{"[{allow: session, program: '*/bash'}, {deny: session}]", session(by("/usr/bin/ssh", "")), Deny},
		{"[{allow: session, program: '*/bash'}, {deny: session}]", session(), Deny},
	} {
		p, err := Parse([]byte("rules: " + c.rules))
		if err != nil {
			t.Fatal(err)
		}
		if d := p.Decide(c.f, nil); d.Verdict != c.want {
			t.Errorf("%s, %q: %+v", c.rules, c.f.Programs, d)
		}
	}
	for _, wrong := range []string{"{deny: login, program: x}", "{deny: [session, login], program: x}", "{deny: any, program: x}", "{deny: session, program: []}"} {
		if _, err := Parse([]byte("rules: [" + wrong + "]")); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
}
