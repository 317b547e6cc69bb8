package agent

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/identity"
	"keyway/internal/policy"
	"keyway/internal/sshwire"
)

// The specification of the agent's decisions under the standard policy.
//
// A connection comes through the agent's socket or through the one for forwarding. On
// it up to three hosts bind: each bind names a host and a session, and reports whether the
// session forwards the agent or is for a login. Then a signature is asked for, with an
// ordinary key or with one that is restricted to a list of steps (ssh-add -h). Before
// all that the agent may have signed logins, for askers here or for remote ones.
//
// A signature is refused
//   - if a bind was forged: the host's key has not signed the session;
//   - if the binds contradict one another: one comes after a bind for a login, or a
//     session is bound to a second host or for a second purpose (the same bind again
//     changes nothing);
//   - if it is for a login that names another key than the one that is to sign;
//   - if the last bind is for a login, and the data is a login for another session or
//     names another host, or is neither a login nor an SSHSIG;
//   - with a restricted key, unless it is for a login at the host that was bound last,
//     each host on the route is one of the key's steps from the host before it, the first
//     one from here, and, where there is more than one, the data names the host.
//
// Otherwise it is given only if
//   - the asker is on this machine: the connection came through the agent's socket, and
//     no bind says that its session forwards the agent; or
//   - the key is restricted, and every host on the route is believed; or
//   - it is for a login at the host that was bound last, that host is a public git host
//     or a workspace, every host on the route is a workspace, the first one is at the same
//     place as that workspace, and is believed.
//
// It is refused to any other remote asker if the data is neither a login nor an SSHSIG.
// In every other case the user is asked.
//
// A host on the route is believed if the agent has signed a login in the session that was
// bound. The first one, through the agent's socket, is believed without: the user's own
// ssh has bound it. Through the socket for forwarding, that login must have been asked
// for on this machine; and if the first bind there does not forward, or there is none,
// the route begins at a host that is not known, and not believed.

// sHost is a host of the model.
type sHost int

const (
	sTrain   sHost = iota // a workspace
	sFar                  // a workspace of another place
	sBastion              //
	sGit                  // a public git host
	sHosts
	sNone sHost = -1
)

type sBind struct {
	host            sHost
	session         int
	forwards, forge bool
}

// sRequest is a request to sign.
type sRequest struct {
	kind       policy.Purpose
	session    int   // of a login
	names      sHost // in a login; sNone: no host
	anotherKey bool  // in a login
	restricted bool  // the key that is to sign
}

// sSigned tells which logins the agent has signed before.
type sSigned int

const (
	signedNone    sSigned = iota
	signedHere            // every session with every host, for askers on this machine
	signedRemote          // likewise, for remote ones
	signedOne             // the first session only, for askers on this machine
	signedChoices         //
)

// believes reports whether the agent has signed a login in the session.
func (s sSigned) believes(b sBind, mustBeHere bool) bool {
	switch s {
	case signedHere:
		return true
	case signedRemote:
		return !mustBeHere
	case signedOne:
		return b.session == 0
	}
	return false
}

// sSteps are those of the restricted key.
var sSteps = map[[2]sHost]bool{{sNone, sTrain}: true, {sNone, sBastion}: true, {sBastion, sTrain}: true, {sTrain, sGit}: true}

// specification returns the decision about a request.
func specification(far bool, binds []sBind, signed sSigned, r sRequest) policy.Verdict {
	route, sound := soundRoute(binds)
	login := r.kind == policy.Login
	if !sound || login && r.anotherKey {
		return policy.Deny
	}
	var to *sBind // where the connection logs in to
	if n := len(route); n > 0 && !route[n-1].forwards {
		to, route = &route[n-1], route[:n-1]
	}
	if to != nil && (r.kind == policy.Data || login && (r.session != to.session || r.names != sNone && r.names != to.host)) {
		return policy.Deny
	}
	if r.restricted && (!login || to == nil || !everyStep(route, to.host) || len(route) > 0 && r.names == sNone) {
		return policy.Deny
	}
	remote := far || len(route) > 0
	first := len(route) > 0 && (!far || signed.believes(route[0], true))
	all := first && !slices.ContainsFunc(route[1:], func(b sBind) bool { return !signed.believes(b, false) })
	workspaces := !slices.ContainsFunc(route, func(b sBind) bool { return b.host != sTrain && b.host != sFar })
	switch {
	case !remote, r.restricted && all:
		return policy.Allow
	case r.kind == policy.Data:
		return policy.Deny
	case login && !r.restricted && to != nil && first && workspaces && (to.host == sGit || to.host == route[0].host):
		return policy.Allow
	}
	return policy.Ask
}

// soundRoute leaves out repeated binds, and reports whether the rest is genuine and without
// contradiction.
func soundRoute(binds []sBind) (route []sBind, sound bool) {
	for _, b := range binds {
		again := slices.Contains(route, b)
		for _, old := range route {
			if !old.forwards || old.session == b.session && old != b {
				return nil, false
			}
		}
		if b.forge {
			return nil, false
		}
		if !again {
			route = append(route, b)
		}
	}
	return route, true
}

func everyStep(route []sBind, to sHost) bool {
	from := sNone
	for _, b := range route {
		if !sSteps[[2]sHost{from, b.host}] {
			return false
		}
		from = b.host
	}
	return sSteps[[2]sHost{from, to}]
}

// model is the shipped code with the data that it needs, all prepared.
type model struct {
	pairs      [sHosts]pair
	known      [signedChoices]known
	binds      []sBind
	parsed     []func(w *route) error // the effect of the bind of the same number
	requests   []sRequest
	contents   []content
	ordinary   *held
	restricted *held
	policy     *policy.Policy
	now        time.Time
}

func sessionName(n int) string { return fmt.Sprint("session ", n) }

func newModel(t testing.TB) *model {
	w := theWorld()
	m := &model{pairs: [sHosts]pair{newEd25519(), newEd25519(), newEd25519(), newEd25519()}, policy: policy.Standard(), now: time.Now()}
	hosts := map[string]policy.Host{}
	for i, h := range []policy.Host{
		{Names: []string{"train"}, Groups: []string{policy.GroupWorkspaces}, Place: "gpu1"},
		{Names: []string{"far"}, Groups: []string{policy.GroupWorkspaces}, Place: "gpu2"},
		{Names: []string{"bastion"}}, {Names: []string{"github.com"}, Groups: []string{policy.GroupGit}},
	} {
		hosts[string(m.pairs[i].public.Marshal())] = h
	}
	names := func(key ssh.PublicKey) policy.Host { return hosts[string(key.Marshal())] }
	for s := range signedChoices {
		m.known[s] = known{names, new(logins)}
	}
	for host := range sHosts {
		for session := range 2 {
			for _, forwards := range []bool{true, false} {
				m.addBind(sBind{host: host, session: session, forwards: forwards})
			}
		}
	}
	m.addBind(sBind{host: sTrain, forwards: true, forge: true})
	m.addBind(sBind{host: sGit, session: 1, forge: true})
	m.addRequests(w)
	m.ordinary = &held{key: must(identity.Foreign(w.me.public.Marshal(), "me"))}
	m.restricted = m.restrictedKey(t, w)
	return m
}

// addBind reads and verifies a bind once; it applies the bind to a route each time.
func (m *model) addBind(s sBind) {
	host := m.pairs[s.host]
	by := host
	if s.forge {
		by = m.pairs[(s.host+1)%sHosts]
	}
	message := rawBind(host.public, sessionName(s.session), must(hostSignature(by.signer, sessionName(s.session))), s.forwards)
	b, err := parseBind(sshwire.NewReader(message[1+len(text(extSessionBind)):]))
	m.binds = append(m.binds, s)
	m.parsed = append(m.parsed, func(w *route) error { return w.take(b, err) })
	if err != nil {
		return
	}
	m.known[signedHere].logins.signed(b, false)
	m.known[signedRemote].logins.signed(b, true)
	if s.session == 0 {
		m.known[signedOne].logins.signed(b, false)
	}
}

func (m *model) addRequests(w world) {
	add := func(r sRequest, data []byte) {
		for _, restricted := range []bool{false, true} {
			r.restricted = restricted
			m.requests = append(m.requests, r)
			m.contents = append(m.contents, parseContent(data))
		}
	}
	for session := range 2 {
		for _, names := range []sHost{sNone, sTrain, sGit} {
			var host ssh.PublicKey
			if names != sNone {
				host = m.pairs[names].public
			}
			add(sRequest{kind: policy.Login, session: session, names: names}, loginData(sessionName(session), "root", w.me.public, host))
		}
	}
	add(sRequest{kind: policy.Login, names: sNone, anotherKey: true}, loginData(sessionName(0), "root", w.other.public, nil))
	add(sRequest{kind: policy.Signature}, sshsigData("git"))
	add(sRequest{kind: policy.Data}, []byte("any data"))
}

// restrictedKey reads its steps in the form that the agent receives.
func (m *model) restrictedKey(t testing.TB, w world) *held {
	at := func(h sHost) hopOf {
		if h == sNone {
			return hopOf{}
		}
		return hopOf{name: fmt.Sprint("host ", h), keys: []ssh.PublicKey{m.pairs[h].public}}
	}
	var steps []step
	for s := range sSteps {
		steps = append(steps, step{at(s[0]), at(s[1])})
	}
	c, err := parseConstraints(sshwire.NewReader(restrict(steps...)), false)
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{}).hold(must(identity.Foreign(w.me.public.Marshal(), "me")), c)
}

// play makes every request on a connection with the binds, after each set of earlier signatures,
// and returns the number of sequences.
func (m *model) play(t *testing.T, far bool, numbers []int) (n int) {
	w := route{remote: far, far: far}
	var binds []sBind
	for _, i := range numbers {
		binds = append(binds, m.binds[i])
		_ = m.parsed[i](&w) // the route keeps the reason
	}
	for signed := range signedChoices {
		for i, r := range m.requests {
			h := m.ordinary
			if r.restricted {
				h = m.restricted
			}
			d := m.policy.Decide(judgeSign(w, h, m.contents[i], m.known[signed], m.now), nil)
			if want := specification(far, binds, signed, r); d.Verdict != want {
				t.Errorf("far %v, %+v, signed %d, %+v: %v (%s: %s), the specification says %v", far, binds, signed, r, d.Verdict, d.Rule, d.Reason, want)
			}
			n++
		}
	}
	return n
}

// TestModel runs every sequence of up to three binds, true and forged, with every request after it,
// through the code that decides, without sockets and without a clock, and compares each result with
// the specification above.
func TestModel(t *testing.T) {
	m := newModel(t)
	began := time.Now()
	var total atomic.Int64
	var all sync.WaitGroup
	for _, far := range []bool{false, true} {
		all.Go(func() {
			for _, numbers := range sequences(len(m.binds), 3) {
				total.Add(int64(m.play(t, far, numbers)))
				if t.Failed() {
					return // one failing sequence is enough
				}
			}
		})
	}
	all.Wait()
	fmt.Printf("the model of the agent: %d sequences in %v\n", total.Load(), time.Since(began).Round(10*time.Millisecond))
	if total.Load() < 100_000 {
		t.Errorf("only %d sequences", total.Load())
	}
}

// sequences returns all sequences of up to length numbers below n.
func sequences(n, length int) (all [][]int) {
	all = [][]int{nil}
	for last := all; length > 0; length-- {
		var next [][]int
		for _, s := range last {
			for i := range n {
				next = append(next, append(slices.Clone(s), i))
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

// TestModelHasTeeth checks that the specification itself refuses what it must, because a model that
// refuses nothing would compare nothing.
func TestModelHasTeeth(t *testing.T) {
	login := sRequest{kind: policy.Login, session: 1, names: sNone}
	for _, c := range []struct {
		what   string
		far    bool
		binds  []sBind
		signed sSigned
		want   policy.Verdict
	}{
		{"a program here", false, nil, signedNone, policy.Allow},
		{"through the socket for forwarding", true, nil, signedHere, policy.Ask},
		{"a workspace to a git host", false, []sBind{{sTrain, 0, true, false}, {sGit, 1, false, false}}, signedNone, policy.Allow},
		{"a bastion to a git host", false, []sBind{{sBastion, 0, true, false}, {sGit, 1, false, false}}, signedNone, policy.Ask},
		{"a workspace to another place", false, []sBind{{sTrain, 0, true, false}, {sFar, 1, false, false}}, signedNone, policy.Ask},
		{"a forged host", false, []sBind{{sTrain, 0, true, true}, {sGit, 1, false, false}}, signedNone, policy.Deny},
		{"a workspace that nobody vouches for", true, []sBind{{sTrain, 0, true, false}, {sGit, 1, false, false}}, signedRemote, policy.Ask},
	} {
		if got := specification(c.far, c.binds, c.signed, login); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
	if _, sound := soundRoute([]sBind{{sTrain, 0, true, false}, {sTrain, 0, false, false}}); sound {
		t.Error("a session has two purposes")
	}
	if n := len(sequences(3, 2)); n != 1+3+9 {
		t.Errorf("%d sequences", n)
	}
	if strings.Count(sessionName(1), "1") != 1 {
		t.Error("sessions are not told apart")
	}
}
