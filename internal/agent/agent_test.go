package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/audit"
	"keyway/internal/policy"
	"keyway/internal/sshwire"
)

// bound returns a connection with binds made on it.
func (r *running) bound(t *testing.T, binds ...[]byte) *client {
	t.Helper()
	c := dial(t, r.local)
	for _, b := range binds {
		c.expect(t, "bind", b, true)
	}
	return c
}

func TestSignaturesVerify(t *testing.T) {
	w := theWorld()
	a := start(t, Config{})
	c := dial(t, a.local)
	for _, p := range []pair{w.me, w.rsa} {
		c.expect(t, "add", addMessage(p, "key"), true)
		data := loginData(s1, "root", p.public, nil)
		for _, flags := range []byte{0, 2, 4} {
			answer := c.expect(t, "sign", join([]byte{msgSign}, str(p.public.Marshal(), data), []byte{0, 0, 0, flags}), true)
			r := sshwire.NewReader(answer[1:])
			var sig ssh.Signature
			if err := ssh.Unmarshal(r.String(), &sig); err != nil {
				t.Fatal(err)
			}
			if err := p.public.Verify(data, &sig); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestForwardSocket checks that a client of the socket for forwarding is remote, with or without a
// bind.
func TestForwardSocket(t *testing.T) {
	w := theWorld()
	a := start(t, Config{})
	dial(t, a.local).expect(t, "add", addMessage(w.me, "me"), true)
	c := dial(t, a.forward)
	c.expect(t, "list", []byte{msgList}, true)
	for what, message := range map[string][]byte{
		"login":       loginMessage(s1, "root", w.me.public, nil),
		"signature":   signMessage(w.me.public, sshsigData("git")),
		"data":        signMessage(w.me.public, []byte("x")),
		"add":         addMessage(w.other, "planted"),
		"remove":      removeMessage(w.me.public),
		"remove all":  {msgRemoveAll},
		"remove v1":   {msgRemoveAllV1},
		"lock":        join([]byte{msgLock}, text("x")),
		"unlock":      join([]byte{msgUnlock}, text("x")),
		"load":        join([]byte{msgAddCard}, text("/usr/lib/x.so"), text("")),
		"unload":      join([]byte{msgRemoveCard}, text("/usr/lib/x.so"), text("")),
		"keys":        join([]byte{msgExtension}, text(extKeys)),
		"answer":      join([]byte{msgExtension}, text(extAnswer), []byte{0, 0, 0, 1, 1, 0, 0, 0, 0}),
		"constrained": addMessage(w.other, "planted", lifetime(5)),
	} {
		c.expect(t, what, message, false)
	}
	if t.Failed() {
		return // a client with the right to read questions waits for one
	}
	c.expect(t, "questions", join([]byte{msgExtension}, text(extQuestions)), false)
	// A bind that claims to be local does not make it so.
	c = dial(t, a.forward)
	c.expect(t, "bind", bindMessage(w.gpu, s1, false), true)
	c.expect(t, "login at a workspace, from nobody knows where", loginMessage(s1, "root", w.me.public, nil), false)
	c.expect(t, "add", addMessage(w.other, "planted"), false)
	if e := a.log.last(); !e.Remote || e.FromKey != "" {
		t.Errorf("the log believes a bind that nobody vouched for: %+v", e)
	}
}

// TestFirstHostThroughTheForwardSocket checks that the first host of a route through that socket is
// not believed, because a remote asker may have forged it, unless this agent has signed the user's
// own login to it.
func TestFirstHostThroughTheForwardSocket(t *testing.T) {
	w := theWorld()
	a := start(t, Config{})
	dial(t, a.local).expect(t, "add", addMessage(w.me, "me"), true)
	login := loginMessage(s2, "git", w.me.public, nil)
	forwarded := func(first string) *client {
		c := dial(t, a.forward)
		c.expect(t, "bind", bindMessage(w.gpu, first, true), true)
		c.expect(t, "bind", bindMessage(w.git, s2, false), true)
		return c
	}
	forwarded(s1).expect(t, "a first host that somebody greeted", login, false)
	a.bound(t, bindMessage(w.gpu, s1, false)).expect(t, "the user's login", loginMessage(s1, "root", w.me.public, nil), true)
	forwarded(s1).expect(t, "the session that the user logged in to", login, true)
	forwarded(s3).expect(t, "another session with that host", login, false)
	// A login that the agent signed for a remote asker vouches for no first host.
	far := dial(t, a.forward)
	far.expect(t, "bind", bindMessage(w.gpu, s1, true), true)
	far.expect(t, "bind", bindMessage(w.gpu, s3, false), true)
	far.expect(t, "login", loginMessage(s3, "root", w.me.public, nil), true)
	forwarded(s3).expect(t, "a session that a remote asker logged in to", login, false)
}

// TestAnswersAboutARoute checks that the user's answer about an unproved host holds for the
// sessions of that route, and for no other session.
func TestAnswersAboutARoute(t *testing.T) {
	w := theWorld()
	me := newPerson()
	a := start(t, Config{Askers: []Asker{me}})
	bastion, gpu := hopOf{name: "bastion", keys: []ssh.PublicKey{w.bastion.public}}, hopOf{name: "train", keys: []ssh.PublicKey{w.gpu.public}}
	db := hopOf{name: "db", keys: []ssh.PublicKey{w.db.public}}
	dial(t, a.local).expect(t, "add", addMessage(w.me, "me", restrict(step{to: bastion}, step{from: bastion, to: gpu}, step{from: gpu, to: db})), true)
	login := loginMessage(s3, "root", w.me.public, w.db.public)
	through := func(session string) *client {
		return a.bound(t, bindMessage(w.bastion, s1, true), bindMessage(w.gpu, session, true), bindMessage(w.db, s3, false))
	}
	me.said <- Answer{Allow: true, Ever: true, By: "a test"}
	through(s2).expect(t, "asked", login, true)
	if q := me.heard(t); !q.Grantable || !strings.Contains(q.Text(), "on behalf of train (as it claims)") || !strings.Contains(q.Why, "train") {
		t.Errorf("%s %s", q.Text(), q.Why)
	}
	through(s2).expect(t, "not asked again", login, true)
	me.said <- Answer{By: "a test"}
	through("another session").expect(t, "another session", login, false)
	me.heard(t)
}

func TestLoginsAreBounded(t *testing.T) {
	var l logins
	at := func(i int) bind { return bind{session: []byte(fmt.Sprint(i)), blob: []byte("host")} }
	l.signed(at(-1), false)
	for i := range maxLogins + 1 {
		l.signed(at(i), true)
	}
	if !l.hasLocal(at(-1)) || l.has(at(0)) || !l.has(at(maxLogins)) || l.hasLocal(at(maxLogins)) || l.has(bind{session: []byte("1"), blob: []byte("other")}) {
		t.Error("the wrong ones are remembered")
	}
	var after logins
	after.take(l.export())
	if !after.hasLocal(at(-1)) || !after.has(at(maxLogins)) || after.hasLocal(at(maxLogins)) {
		t.Error("lost in a handing over")
	}
}

func TestListFitsTheDestination(t *testing.T) {
	w := theWorld()
	third := newEd25519()
	rules := must(policy.Parse([]byte("rules:\n  - deny: login\n    to: db\n    key: other\n")))
	a := start(t, Config{Policy: func() *policy.Policy { return rules }})
	c := dial(t, a.local)
	atGPU := step{to: hopOf{name: "train", keys: []ssh.PublicKey{w.gpu.public}}}
	c.expect(t, "add", addMessage(w.me, "me"), true)
	c.expect(t, "add", addMessage(w.other, "other"), true)
	c.expect(t, "add", addMessage(third, "restricted", restrict(atGPU)), true)
	names := func(c *client) string {
		t.Helper()
		answer := c.expect(t, "list", []byte{msgList}, true)
		var names []string
		r := sshwire.NewReader(answer[1:])
		for range r.Uint32() {
			r.String()
			names = append(names, r.Text())
		}
		return strings.Join(names, " ")
	}
	for _, want := range []struct {
		name  string
		binds [][]byte
		keys  string
	}{
		{"local", nil, "me other restricted"},
		{"to the workspace, best first", [][]byte{bindMessage(w.gpu, s1, false)}, "restricted me other"},
		{"to db, where a rule denies", [][]byte{bindMessage(w.db, s1, false)}, "me"},
		{"forwarded", [][]byte{bindMessage(w.bastion, s1, true)}, "me other"},
		{"forwarded by a host where the way of one ends", [][]byte{bindMessage(w.gpu, s1, true)}, "me other"},
		{"forwarded to where nobody can allow it", [][]byte{bindMessage(w.bastion, s1, true), bindMessage(w.db, s2, false)}, ""},
		{"forwarded to the git host", [][]byte{bindMessage(w.bastion, s1, true), bindMessage(w.git, s2, false)}, ""},
		{"forwarded by a workspace to the git host", [][]byte{bindMessage(w.gpu, s1, true), bindMessage(w.git, s2, false)}, "me other"},
	} {
		if got := names(a.bound(t, want.binds...)); got != want.keys {
			t.Errorf("%s: %q, want %q", want.name, got, want.keys)
		}
	}
	// A key that has worked for a host is offered there first.
	used := a.bound(t, bindMessage(w.git, s1, false))
	used.expect(t, "login", loginMessage(s1, "git", w.other.public, nil), true)
	if got := names(a.bound(t, bindMessage(w.git, s2, false))); got != "other me" {
		t.Errorf("after a login with other: %q", got)
	}
	untrusted := dial(t, a.local)
	untrusted.expect(t, "junk", rawBind(w.gpu.public, s1, nil, false), false)
	if got := names(untrusted); got != "" {
		t.Errorf("a connection that cannot be believed sees %q", got)
	}
}

func TestExpiredCertificateIsHidden(t *testing.T) {
	w := theWorld()
	a := start(t, Config{})
	c := dial(t, a.local)
	for i, before := range []time.Time{time.Now().Add(-time.Minute), time.Now().Add(time.Hour)} {
		cert := &ssh.Certificate{Key: w.me.public, CertType: ssh.UserCert, ValidPrincipals: []string{"me"}, ValidBefore: uint64(before.Unix())}
		if err := cert.SignCert(rand.Reader, w.ca.signer); err != nil {
			t.Fatal(err)
		}
		plain := addMessage(w.me, "me")[1:]
		body := plain[len(text(ssh.KeyAlgoED25519)):]
		c.expect(t, "add", join([]byte{msgAdd}, text(ssh.CertAlgoED25519v01), str(cert.Marshal()), body), true)
		if n := len(listed(c.expect(t, "list", []byte{msgList}, true))); n != i {
			t.Errorf("%d keys, want %d", n, i)
		}
	}
}

func TestLifetime(t *testing.T) {
	w := theWorld()
	var now atomic.Int64
	now.Store(int64(time.Hour))
	a := start(t, Config{uptime: func() time.Duration { return time.Duration(now.Load()) }, Lifetime: 500 * time.Second})
	c := dial(t, a.local)
	c.expect(t, "add", addMessage(w.me, "me", lifetime(100)), true)
	c.expect(t, "add", addMessage(w.other, "other"), true)
	count := func() int { return len(listed(c.expect(t, "list", []byte{msgList}, true))) }
	for _, want := range []struct {
		after time.Duration
		keys  int
	}{{0, 2}, {99 * time.Second, 2}, {time.Second, 1}, {399 * time.Second, 1}, {time.Second, 0}} {
		now.Add(int64(want.after))
		if n := count(); n != want.keys {
			t.Errorf("after %v more: %d keys, want %d", want.after, n, want.keys)
		}
	}
	c.expect(t, "sign", loginMessage(s1, "root", w.me.public, nil), false)
	c.expect(t, "a key whose time is over", addMessage(w.me, "me", lifetime(0)), true)
	now.Add(1)
	if n := count(); n != 0 {
		t.Errorf("a lifetime of nothing lasts")
	}
}

// person is a user whose answers the test chooses.
type person struct {
	asked chan Question
	said  chan Answer
}

func newPerson() *person { return &person{make(chan Question, 100), make(chan Answer, 100)} }

// heard returns the latest question that the user was asked, and has answered.
func (p *person) heard(t *testing.T) Question {
	t.Helper()
	select {
	case q := <-p.asked:
		return q
	default:
		t.Fatal("nobody was asked")
		return Question{}
	}
}

func (p *person) CanAsk() bool { return true }

func (p *person) Ask(ctx context.Context, q Question) (Answer, error) {
	p.asked <- q
	select {
	case a := <-p.said:
		return a, nil
	case <-ctx.Done():
		p.asked <- Question{} // it was taken back
		return Answer{}, ctx.Err()
	}
}

func TestConfirm(t *testing.T) {
	w := theWorld()
	me := newPerson()
	a := start(t, Config{Askers: []Asker{me}})
	c := dial(t, a.local)
	c.expect(t, "add", addMessage(w.me, "me", []byte{constrainConfirm}), true)
	for _, allow := range []bool{true, false, true} {
		me.said <- Answer{Allow: allow, Ever: true, By: "a test"}
		c.expect(t, "login", loginMessage(s1, "root", w.me.public, nil), allow)
		if len(me.asked) != 1 {
			t.Fatal("nobody was asked")
		}
		if q := <-me.asked; !q.Confirm || q.Grantable || !strings.Contains(q.Text(), `"me"`) {
			t.Errorf("%+v %s", q, q.Text())
		}
	}
	silent := start(t, Config{})
	c = dial(t, silent.local)
	c.expect(t, "add", addMessage(w.me, "me", []byte{constrainConfirm}), true)
	c.expect(t, "login where nobody can be asked", loginMessage(s1, "root", w.me.public, nil), false)
}

func TestAnswersHold(t *testing.T) {
	w := theWorld()
	me := newPerson()
	a := start(t, Config{Askers: []Asker{me}})
	dial(t, a.local).expect(t, "add", addMessage(w.me, "me"), true)
	toDB := func() *client {
		return a.bound(t, bindMessage(w.bastion, s1, true), bindMessage(w.db, s2, false))
	}
	login := loginMessage(s2, "root", w.me.public, w.db.public)
	me.said <- Answer{Allow: true, By: "a test"}
	toDB().expect(t, "once", login, true)
	q := <-me.asked
	want := "bastion asks to log in to db as root with the key \"me\" (" + ssh.FingerprintSHA256(w.me.public) + ").\nThe destination is verified.\nAllow it?"
	if q.Text() != want || !q.Grantable {
		t.Errorf("%q", q.Text())
	}
	me.said <- Answer{Allow: true, For: time.Hour, By: "a test"}
	toDB().expect(t, "for an hour", login, true)
	<-me.asked
	toDB().expect(t, "within the hour", login, true)
	if e := a.log.last(); e.Rule != "answer" || e.To != "db" || e.From != "bastion" || e.User != "root" || e.Verdict != "allowed" {
		t.Errorf("%+v", e)
	}
	me.said <- Answer{By: "a test"}
	toDB().expect(t, "as another user", loginMessage(s2, "admin", w.me.public, w.db.public), false)
	<-me.asked
	toDB().expect(t, "what was denied is not asked again", loginMessage(s2, "admin", w.me.public, w.db.public), false)
	if len(me.asked) != 0 {
		t.Error("it was asked again")
	}
}

func TestQuestionsAreLimited(t *testing.T) {
	w := theWorld()
	me := newPerson()
	a := start(t, Config{Askers: []Asker{me}})
	dial(t, a.local).expect(t, "add", addMessage(w.me, "me"), true)
	c := a.bound(t, bindMessage(w.bastion, s1, true), bindMessage(w.db, s2, false))
	for i := range 2 * maxPerMinute {
		if i < maxPerMinute {
			me.said <- Answer{Allow: true, By: "a test"}
		}
		c.expect(t, "login", loginMessage(s2, fmt.Sprint("user", i), w.me.public, nil), i < maxPerMinute)
	}
	if n := len(me.asked); n != maxPerMinute {
		t.Errorf("%d questions", n)
	}
}

func TestBurstIsOneQuestion(t *testing.T) {
	w := theWorld()
	me := newPerson()
	a := start(t, Config{Askers: []Asker{me}})
	dial(t, a.local).expect(t, "add", addMessage(w.me, "me"), true)
	const n = 5
	var wg sync.WaitGroup
	for range n {
		c := a.bound(t, bindMessage(w.bastion, s1, true), bindMessage(w.db, s2, false))
		wg.Go(func() {
			answer, err := c.ask(loginMessage(s2, "root", w.me.public, nil))
			if err != nil || !yes(answer) {
				t.Errorf("%v %v", answer, err)
			}
		})
	}
	<-me.asked
	await(t, func() bool {
		a.questions.mu.Lock()
		defer a.questions.mu.Unlock()
		for _, p := range a.questions.pending {
			return p.wait == n
		}
		return false
	})
	me.said <- Answer{Allow: true, By: "a test"}
	wg.Wait()
	if len(me.asked) != 0 {
		t.Error("more than one question")
	}
}

// await polls a count within the agent, which has no event.
func await(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("it never came")
		}
	}
}

func TestHangingUpTakesTheQuestionBack(t *testing.T) {
	w := theWorld()
	me := newPerson()
	a := start(t, Config{Askers: []Asker{me}})
	dial(t, a.local).expect(t, "add", addMessage(w.me, "me"), true)
	c := a.bound(t, bindMessage(w.bastion, s1, true), bindMessage(w.db, s2, false))
	if _, err := c.conn.Write(frame(loginMessage(s2, "root", w.me.public, nil))); err != nil {
		t.Fatal(err)
	}
	if q := <-me.asked; q.ID == 0 {
		t.Fatal("no question")
	}
	c.Close()
	if q := <-me.asked; q.ID != 0 {
		t.Error("the question stayed")
	}
}

func TestApprove(t *testing.T) {
	w := theWorld()
	a := start(t, Config{})
	dial(t, a.local).expect(t, "add", addMessage(w.me, "me"), true)
	watcher, asker := dial(t, a.local), a.bound(t, bindMessage(w.bastion, s1, true), bindMessage(w.db, s2, false))
	shown := make(chan []byte, 1)
	go func() {
		answer, err := watcher.ask(join([]byte{msgExtension}, text(extQuestions)))
		if err != nil {
			answer = nil
		}
		shown <- answer
	}()
	await(t, a.questions.canAsk)
	got := make(chan bool, 1)
	go func() {
		answer, err := asker.ask(loginMessage(s2, "root", w.me.public, nil))
		got <- err == nil && yes(answer)
	}()
	if answer := <-shown; !bytes.Contains(answer, []byte("bastion asks to log in to db as root")) {
		t.Fatalf("%q", answer)
	}
	asker2 := a.bound(t, bindMessage(w.bastion, s1, true))
	answerIt := join([]byte{msgExtension}, text(extAnswer), []byte{0, 0, 0, 1, 1, 0, 0, 0, 60})
	asker2.expect(t, "an answer from far away", answerIt, false)
	dial(t, a.local).expect(t, "an answer", answerIt, true)
	if !<-got {
		t.Error("what was approved was refused")
	}
}

func TestNothingForRemoteThatCannotBeLogged(t *testing.T) {
	w := theWorld()
	a := start(t, Config{})
	dial(t, a.local).expect(t, "add", addMessage(w.me, "me"), true)
	c := a.bound(t, bindMessage(w.second, s1, true), bindMessage(w.gpu, s2, false))
	login := loginMessage(s2, "root", w.me.public, nil)
	c.expect(t, "logged", login, true)
	a.log.mu.Lock()
	a.log.broken = true
	a.log.mu.Unlock()
	c.expect(t, "not logged", login, false)
	dial(t, a.local).expect(t, "local, not logged", loginMessage(s1, "root", w.me.public, nil), true)
}

// TestWhatCouldNotBeLoggedIsCounted checks that the count of lost events is written once, as soon
// as there is space and before any other event.
func TestWhatCouldNotBeLoggedIsCounted(t *testing.T) {
	w := theWorld()
	a := start(t, Config{})
	dial(t, a.local).expect(t, "add", addMessage(w.me, "me"), true)
	full := func(is bool) {
		a.log.mu.Lock()
		defer a.log.mu.Unlock()
		a.log.broken = is
	}
	full(true)
	remote := a.bound(t, bindMessage(w.second, s1, true), bindMessage(w.gpu, s2, false))
	remote.expect(t, "remote", loginMessage(s2, "root", w.me.public, nil), false)
	for range 2 {
		dial(t, a.local).expect(t, "local", loginMessage(s1, "root", w.me.public, nil), true)
	}
	before := len(a.log.events)
	a.settle()
	state, conns, err := a.HandOver()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range conns {
		c.Close()
	}
	full(false)
	dial(t, a.local).expect(t, "logged", loginMessage(s1, "root", w.me.public, nil), true)
	told := slices.Clone(a.log.events[before:])
	if len(told) != 2 || told[0].Event != audit.Unwritten || told[0].Unwritten < 3 || !strings.Contains(told[0].Reason, ", 2 of them signatures") || told[1].Event != audit.Sign {
		t.Errorf("%+v", told)
	}
	if a.settle(); len(a.log.events) != before+len(told) {
		t.Errorf("told twice: %+v", a.log.last())
	}
	next := New(Config{Log: a.log})
	if err := next.TakeOver(state, nil); err != nil && !errors.Is(err, ErrHandover) {
		t.Fatal(err)
	}
	if next.settle(); a.log.last().Unwritten != told[0].Unwritten {
		t.Errorf("the next process tells %+v", a.log.last())
	}
}

func TestLogSaysWhy(t *testing.T) {
	w := theWorld()
	a := start(t, Config{})
	dial(t, a.local).expect(t, "add", addMessage(w.me, "me"), true)
	if e := a.log.last(); e.Event != "add" || e.Key != ssh.FingerprintSHA256(w.me.public) || e.PID == 0 || e.Program == "" {
		t.Errorf("%+v", e)
	}
	c := a.bound(t, bindMessage(w.bastion, s1, true), bindMessage(w.gpu, s2, true), bindMessage(w.db, s3, false))
	c.expect(t, "login", loginMessage(s3, "root", w.me.public, nil), false)
	e := a.log.last()
	if e.Verdict != "denied" || e.To != "db" || e.From != "bastion" || e.Via != "train" || !e.Remote || e.Reason == "" {
		t.Errorf("%+v", e)
	}
	c.expect(t, "list", []byte{msgList}, true)
	if e := a.log.last(); e.Event != "offer" || e.Verdict != "denied" || e.To != "db" || e.From != "bastion" || e.Reason == "" {
		t.Errorf("%+v", e)
	}
	c.expect(t, "untrusted", rawBind(w.gpu.public, s1, nil, false), false)
	if e := a.log.last(); e.Event != "bind" || e.Verdict != "denied" {
		t.Errorf("%+v", e)
	}
}

// TestLogSaysWhyARestrictedKeyStops checks that a key that is restricted as with ssh-agent stops at
// a workspace beyond another host if the server does not name the host in the login, and that the
// log says why.
func TestLogSaysWhyARestrictedKeyStops(t *testing.T) {
	w := theWorld()
	a := start(t, Config{})
	gpu, db := hopOf{name: "train", keys: []ssh.PublicKey{w.gpu.public}}, hopOf{name: "db", keys: []ssh.PublicKey{w.db.public}}
	dial(t, a.local).expect(t, "add", addMessage(w.me, "me", restrict(step{to: gpu}, step{from: gpu, to: db})), true)
	c := a.bound(t, bindMessage(w.gpu, s1, true), bindMessage(w.db, s2, false))
	c.expect(t, "login that names the host", loginMessage(s2, "root", w.me.public, w.db.public), true)
	c.expect(t, "login that does not", loginMessage(s2, "root", w.me.public, nil), false)
	if e := a.log.last(); !strings.Contains(e.Reason, methodHostbound) || e.To != "db" {
		t.Errorf("%+v", e)
	}
}

func TestLockedAgentSeemsEmpty(t *testing.T) {
	w := theWorld()
	a := start(t, Config{})
	c := dial(t, a.local)
	c.expect(t, "add", addMessage(w.me, "me"), true)
	c.expect(t, "lock", join([]byte{msgLock}, text("password")), true)
	if n := len(listed(c.expect(t, "list", []byte{msgList}, true))); n != 0 {
		t.Errorf("%d keys", n)
	}
	c.expect(t, "keys", join([]byte{msgExtension}, text(extKeys)), false)
	c.expect(t, "unlock", join([]byte{msgUnlock}, text("password")), true)
	if n := len(listed(c.expect(t, "list", []byte{msgList}, true))); n != 1 {
		t.Errorf("%d keys", n)
	}
}

func TestLibraryFromAnywhere(t *testing.T) {
	a := start(t, Config{Providers: DefaultProviders})
	dir := t.TempDir()
	library := filepath.Join(dir, "evil.so")
	if err := os.WriteFile(library, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	c := dial(t, a.local)
	c.expect(t, "load", join([]byte{msgAddCard}, text(library), text("")), false)
	if e := a.log.last(); !strings.Contains(e.Reason, "permitted places") {
		t.Errorf("%+v", e)
	}
}

func TestNoPolicyRefuses(t *testing.T) {
	w := theWorld()
	a := start(t, Config{Policy: func() *policy.Policy { return nil }})
	c := dial(t, a.local)
	c.expect(t, "add", addMessage(w.me, "me"), false)
	c.expect(t, "sign", loginMessage(s1, "root", w.me.public, nil), false)
	var zero *Agent = New(Config{})
	if zero.policy() != nil {
		t.Error("an agent without configuration has a policy")
	}
}

func TestTooManyRefusalsEndTheConnection(t *testing.T) {
	a := start(t, Config{})
	c := dial(t, a.local)
	for range maxRefusals {
		c.expect(t, "sign", loginMessage(s1, "root", theWorld().me.public, nil), false)
	}
	if _, err := c.ask([]byte{msgList}); err == nil {
		t.Error("the connection goes on")
	}
}

func TestWrongLengths(t *testing.T) {
	a := start(t, Config{})
	for name, raw := range map[string][]byte{
		"nothing": {0, 0, 0, 0}, "too long": {0, 4, 0, 1}, "the longest": {0xff, 0xff, 0xff, 0xff},
	} {
		c := dial(t, a.local)
		if _, err := c.conn.Write(append(raw, msgList)); err != nil {
			t.Fatal(err)
		}
		c.conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := c.in.ReadByte(); err == nil {
			t.Errorf("%s: answered", name)
		}
	}
	c := dial(t, a.local)
	long := make([]byte, maxMessage)
	long[0] = msgSign
	c.expect(t, "the longest that is taken", long, false)
}

// deadlines records the time limits of reads.
type deadlines struct{ set []time.Time }

func (d *deadlines) SetReadDeadline(t time.Time) error { d.set = append(d.set, t); return nil }

type peekReader struct{ io.Reader }

func (peekReader) Peek(int) ([]byte, error) { return nil, nil }

func TestPartialMessageHasADeadline(t *testing.T) {
	var d deadlines
	if _, err := readMessage(peekReader{bytes.NewReader([]byte{0, 0, 0, 9, 1})}, &d); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	if len(d.set) != 1 || d.set[0].IsZero() || time.Until(d.set[0]) > partialWithin {
		t.Errorf("%v", d.set)
	}
	d = deadlines{}
	if m, err := readMessage(peekReader{bytes.NewReader([]byte{0, 0, 0, 1, 11})}, &d); err != nil || len(m) != 1 {
		t.Errorf("%v %v", m, err)
	}
	if len(d.set) != 2 || !d.set[1].IsZero() {
		t.Errorf("the deadline stays: %v", d.set)
	}
}

// TestStalledAskersHinderNobody checks that askers that never read, stop in the middle, or wait for
// an unlock delay do not delay other askers.
func TestStalledAskersHinderNobody(t *testing.T) {
	w := theWorld()
	a := start(t, Config{})
	dial(t, a.local).expect(t, "add", addMessage(w.me, "me"), true)
	for range 20 {
		half := dial(t, a.local)
		if _, err := half.conn.Write([]byte{0, 0, 1, 0, msgSign}); err != nil {
			t.Fatal(err)
		}
		unread := dial(t, a.local)
		unread.conn.SetWriteDeadline(time.Now().Add(time.Second))
		many := bytes.Repeat(frame([]byte{msgList}), 10_000)
		unread.conn.Write(many) // as much as goes
	}
	half := dial(t, a.local)
	if _, err := half.conn.Write([]byte{0, 0, 1, 0, msgSign}); err != nil {
		t.Fatal(err)
	}
	c := dial(t, a.local)
	for range 10 {
		c.expect(t, "login", loginMessage(s1, "root", w.me.public, nil), true)
	}
	// The agent served this one before the last one ended.
	half.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := half.in.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it was ended before others were answered: %v", err)
	}
}

func TestUnlockDelayHindersNobody(t *testing.T) {
	k := keyring{uptime: uptime}
	if err := k.lock([]byte("password")); err != nil {
		t.Fatal(err)
	}
	var waits []time.Duration
	wait := func(d time.Duration) {
		waits = append(waits, d)
		if !k.isLocked() {
			t.Error("not locked any more")
		}
		k.all() // others are served meanwhile
	}
	for range 3 {
		if k.unlock([]byte("wrong"), wait) == nil {
			t.Fatal("unlocked")
		}
	}
	if fmt.Sprint(waits) != "[100ms 200ms 300ms]" {
		t.Errorf("%v", waits)
	}
	if err := k.unlock([]byte("password"), wait); err != nil || k.isLocked() {
		t.Errorf("%v", err)
	}
}

// TestBindWhileLocked checks that the bind of a forwarding that is opened while the agent is locked
// counts once it is unlocked.
func TestBindWhileLocked(t *testing.T) {
	w := theWorld()
	a := start(t, Config{})
	c := dial(t, a.local)
	c.expect(t, "add", addMessage(w.me, "me"), true)
	c.expect(t, "lock", join([]byte{msgLock}, text("password")), true)
	far := a.bound(t, bindMessage(w.bastion, s1, true))
	c.expect(t, "unlock", join([]byte{msgUnlock}, text("password")), true)
	far.expect(t, "data", signMessage(w.me.public, []byte("x")), false)
	far.expect(t, "add", addMessage(w.other, "planted"), false)
}

func TestManyConnections(t *testing.T) {
	w := theWorld()
	a := start(t, Config{})
	first := dial(t, a.local)
	first.expect(t, "add", addMessage(w.me, "me"), true)
	const total, atOnce = 10_000, 500
	var wg sync.WaitGroup
	var done atomic.Int64
	for range atOnce {
		wg.Go(func() {
			for done.Add(1) <= total {
				if err := oneLogin(a.local, w.me.public); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	first.conn.Close() // the agent may have ended it, because it notices the end of the others late
	await(t, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.open) == 0
	})
}

func oneLogin(path string, key ssh.PublicKey) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Write(frame(loginMessage(s1, "root", key, nil))); err != nil {
		return err
	}
	var answer [5]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	if answer[4] != msgSignature {
		return fmt.Errorf("answered %d", answer[4])
	}
	return nil
}

// TestRoomIsMade checks that a connection beyond the limit ends the one that was idle longest.
func TestRoomIsMade(t *testing.T) {
	a := start(t, Config{})
	first := dial(t, a.local)
	first.expect(t, "list", []byte{msgList}, true)
	for range maxConnections {
		c := dial(t, a.local)
		c.expect(t, "list", []byte{msgList}, true)
	}
	if _, err := first.ask([]byte{msgList}); err == nil {
		t.Error("the oldest connection is still there")
	}
}

func TestForgetZeroesAndEmpties(t *testing.T) {
	w := theWorld()
	a := start(t, Config{})
	c := dial(t, a.local)
	c.expect(t, "add", addMessage(w.me, "me"), true)
	if n := a.Forget("SIGUSR1"); n != 1 {
		t.Errorf("%d keys", n)
	}
	c.expect(t, "login", loginMessage(s1, "root", w.me.public, nil), false)
}
