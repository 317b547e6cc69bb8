package agent

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"keyway/internal/policy"
	"keyway/internal/sshwire"
)

func sessionMessage(key ssh.PublicKey, user string, pid int) []byte {
	return join([]byte{msgExtension}, text(extSession), str(key.Marshal()), text(user), sshwire.AppendUint32(nil, uint32(pid)))
}

// mayHaveSession returns the agent's answer; a failure refuses.
func (c *client) mayHaveSession(t testing.TB, key ssh.PublicKey) SessionAnswer {
	t.Helper()
	answer, err := c.ask(sessionMessage(key, "root", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	r := sshwire.NewReader(answer)
	var a SessionAnswer
	if r.Byte() != msgExtResponse {
		return a
	}
	if name := r.Text(); name != extSession {
		t.Fatalf("an answer to %q", name)
	}
	if err := json.Unmarshal(r.String(), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func parsed(t *testing.T, rules string) func() *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(rules))
	if err != nil {
		t.Fatal(err)
	}
	return func() *policy.Policy { return p }
}

func TestSessionsAreDecidedLikeLogins(t *testing.T) {
	w := theWorld()
	self := must(os.Executable())
	for _, c := range []struct {
		name    string
		rules   string
		add     [][]byte // constraints
		bind    [][]byte
		forward bool // through the socket for forwarding
		then    []byte
		allowed bool
	}{
		{name: "bound to a workspace", bind: [][]byte{bindMessage(w.gpu, s1, false)}, allowed: true},
		{name: "bound to nothing"},
		{name: "bound for forwarding", bind: [][]byte{bindMessage(w.gpu, s1, true)}},
		{name: "from far away", bind: [][]byte{bindMessage(w.bastion, s1, true), bindMessage(w.gpu, s2, false)}},
		{name: "through the socket for forwarding", bind: [][]byte{bindMessage(w.gpu, s1, false)}, forward: true},
		{name: "through it, where rules allow all", rules: "rules: [{allow: login}, {allow: session}]", bind: [][]byte{bindMessage(w.gpu, s1, false)}, forward: true},
		{name: "a key that is gone", bind: [][]byte{bindMessage(w.gpu, s1, false)}, then: removeMessage(w.me.public)},
		{name: "a locked agent", bind: [][]byte{bindMessage(w.gpu, s1, false)}, then: join([]byte{msgLock}, text("secret"))},
		{name: "a key to be confirmed", add: [][]byte{{constrainConfirm}}, bind: [][]byte{bindMessage(w.gpu, s1, false)}},
		{name: "sessions denied", rules: "rules: [{deny: session}]", bind: [][]byte{bindMessage(w.gpu, s1, false)}},
		{name: "sessions asked about", rules: "rules: [{ask: session}]", bind: [][]byte{bindMessage(w.gpu, s1, false)}},
		{name: "logins denied", rules: "rules: [{deny: login, to: train}]", bind: [][]byte{bindMessage(w.gpu, s1, false)}},
		{name: "logins asked about", rules: "rules: [{ask: login}]", bind: [][]byte{bindMessage(w.gpu, s1, false)}},
		{name: "sessions there denied", rules: "rules: [{deny: session, to: train, user: root}]", bind: [][]byte{bindMessage(w.gpu, s1, false)}},
		{name: "sessions elsewhere denied", rules: "rules: [{deny: session, to: db}]", bind: [][]byte{bindMessage(w.gpu, s1, false)}, allowed: true},
		{name: "this program denied", rules: "rules: [{deny: session, program: '" + self + "'}]", bind: [][]byte{bindMessage(w.gpu, s1, false)}},
		{name: "what has started it denied", rules: "rules: [{deny: session, program: '*/go'}]", bind: [][]byte{bindMessage(w.gpu, s1, false)}, allowed: !startedByGo()},
		{name: "another program denied", rules: "rules: [{deny: session, program: /none/such}]", bind: [][]byte{bindMessage(w.gpu, s1, false)}, allowed: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := Config{}
			if c.rules != "" {
				config.Policy = parsed(t, c.rules)
			}
			a := start(t, config)
			dial(t, a.local).expect(t, "add", addMessage(w.me, "me@laptop", c.add...), true)
			path := a.local
			if c.forward {
				path = a.forward
			}
			asker := dial(t, path)
			for _, b := range c.bind {
				asker.expect(t, "bind", b, true)
			}
			if c.then != nil {
				dial(t, a.local).expect(t, "then", c.then, true)
			}
			got := asker.mayHaveSession(t, w.me.public)
			if got.Allowed != c.allowed {
				t.Errorf("%+v", got)
			}
			e := a.log.last()
			if e.Event != "session" || (e.Verdict == "allowed") != c.allowed || e.PID != os.Getpid() || e.Program != self {
				t.Errorf("the log has %+v", e)
			}
			if c.allowed && (e.To != "train" || e.User != "root" || e.Comment != "me@laptop") {
				t.Errorf("the log has %+v", e)
			}
		})
	}
}

// startedByGo reports whether a program called go started this one.
func startedByGo() bool {
	for _, p := range (peer{pid: os.Getpid(), known: true}).programs() {
		if strings.HasSuffix(p, "/go") {
			return true
		}
	}
	return false
}

func TestTriesForASessionAreLogged(t *testing.T) {
	w := theWorld()
	a := start(t, Config{Policy: parsed(t, "rules: [{deny: session}]")})
	dial(t, a.local).expect(t, "add", addMessage(w.me, "me@laptop"), true)
	asker := dial(t, a.local)
	asker.expect(t, "bind", bindMessage(w.gpu, s1, false), true)
	const tries = 20
	for range tries {
		if asker.mayHaveSession(t, w.me.public).Allowed {
			t.Fatal("allowed")
		}
	}
	a.noteRefusals(true)
	logged := uint64(0)
	a.log.mu.Lock()
	defer a.log.mu.Unlock()
	for _, e := range a.log.events {
		if e.Event == "session" && e.Verdict == "denied" {
			logged += max(1, e.More)
		}
	}
	if logged != tries {
		t.Errorf("%d of %d tries are in the log", logged, tries)
	}
}

func TestASessionThatCannotBeLoggedIsRefused(t *testing.T) {
	w := theWorld()
	a := start(t, Config{})
	dial(t, a.local).expect(t, "add", addMessage(w.me, "me@laptop"), true)
	asker := dial(t, a.local)
	asker.expect(t, "bind", bindMessage(w.gpu, s1, false), true)
	a.log.mu.Lock()
	a.log.broken = true
	a.log.mu.Unlock()
	if got := asker.mayHaveSession(t, w.me.public); got.Allowed {
		t.Errorf("%+v", got)
	}
}

// BenchmarkSession measures the agent's decision about a session, with its line in the log,
// from the question to the answer.
func BenchmarkSession(b *testing.B) {
	w := theWorld()
	a := start(b, Config{})
	dial(b, a.local).expect(b, "add", addMessage(w.me, "me@laptop"), true)
	asker := dial(b, a.local)
	asker.expect(b, "bind", bindMessage(w.gpu, s1, false), true)
	for b.Loop() {
		if !asker.mayHaveSession(b, w.me.public).Allowed {
			b.Fatal("refused")
		}
	}
}
