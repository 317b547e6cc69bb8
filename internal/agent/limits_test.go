package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"keyway/internal/audit"
	"keyway/internal/policy"
)

// stand returns the number of refusals that the log represents.
func (l *memoryLog) stand() (n uint64, lines int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		switch {
		case e.Verdict != audit.Denied:
		case e.More > 0:
			n, lines = n+e.More, lines+1
		default:
			n, lines = n+1, lines+1
		}
	}
	return n, lines
}

// TestEveryRefusalIsLogged checks that every refusal of a connection is in the log, in a line or in
// a count.
func TestEveryRefusalIsLogged(t *testing.T) {
	w := theWorld()
	a := start(t, Config{})
	dial(t, a.local).expect(t, "add", addMessage(w.me, "me"), true)
	c := a.bound(t, bindMessage(w.bastion, s1, true))
	for i := range maxRefusals {
		c.expect(t, "login", loginMessage(s2, fmt.Sprint("user", i%20), w.me.public, nil), false)
		if n, _ := a.log.stand(); i < foldedFrom && n != uint64(i)+1 {
			t.Errorf("after %d refusals the log has %d", i+1, n)
		}
	}
	a.noteRefusals(true)
	if n, lines := a.log.stand(); n != maxRefusals || lines < 20 {
		t.Errorf("%d refusals are %d in %d lines", maxRefusals, n, lines)
	}
}

// foldedFrom is the number of refusals of different kinds that are lines of their own.
const foldedFrom = 20

// TestFloodOfRefusals checks that a flood of refusals becomes a few lines of the log, and that the
// next permission follows the count of the refusals before it.
func TestFloodOfRefusals(t *testing.T) {
	w := theWorld()
	a := start(t, Config{})
	dial(t, a.local).expect(t, "add", addMessage(w.me, "me"), true)
	var refused uint64
	var c *client
	for i := range 20 * maxRefusals {
		if c == nil {
			c = a.bound(t, bindMessage(w.second, s1, true))
		}
		answer, err := c.ask(loginMessage(s2, fmt.Sprint("user", i), w.me.public, nil))
		if err != nil || refused%maxRefusals == maxRefusals-1 {
			c.Close()
			c = nil
		}
		if err == nil && !yes(answer) {
			refused++
		}
	}
	if refused < dropAfter-slowAfter {
		t.Fatalf("%d were refused", refused)
	}
	c = a.bound(t, bindMessage(w.second, s1, true), bindMessage(w.gpu, s2, false))
	c.expect(t, "what is allowed", loginMessage(s2, "root", w.me.public, nil), true)
	if last := a.log.last(); last.Verdict != audit.Allowed || last.To != "train" {
		t.Errorf("%+v", last)
	}
	if n, lines := a.log.stand(); n < refused || lines > 150 {
		t.Errorf("%d refusals are %d in %d lines", refused, n, lines)
	}
}

func TestAskersAreSlowedAndDropped(t *testing.T) {
	var r refusals
	now := time.Now()
	far, near := askerID{true, 7}, askerID{false, 7}
	for i := range 2 * dropAfter {
		wait, drop := r.refused(far, now)
		if (wait > 0) != (i >= slowAfter) || drop != (i >= dropAfter) || wait > slowMost {
			t.Fatalf("refusal %d waits %v, drop %v", i+1, wait, drop)
		}
	}
	if wait, drop := r.refused(askerID{true, 8}, now); wait != 0 || drop {
		t.Error("another asker pays for it")
	}
	for range 2 * dropAfter {
		if _, drop := r.refused(near, now); drop {
			t.Fatal("an asker on this machine is dropped")
		}
	}
	if wait, drop := r.refused(far, now.Add(2*dropAfter*time.Second)); wait != 0 || drop {
		t.Error("it is never forgotten")
	}
	for i := range 3 * maxSlowed {
		r.refused(askerID{true, i}, now)
	}
	if len(r.askers) > maxSlowed {
		t.Errorf("%d askers", len(r.askers))
	}
}

// TestRemoteConnectionsCrowdOutNobody checks that remote connections, through either socket, end
// none of this machine: keyway approve continues, and so does an ssh that waits.
func TestRemoteConnectionsCrowdOutNobody(t *testing.T) {
	w := theWorld()
	for name, flood := range map[string]func(t *testing.T, a *running) *client{
		"forward.sock": func(t *testing.T, a *running) *client { return dial(t, a.forward) },
		"agent.sock":   func(t *testing.T, a *running) *client { return a.bound(t, bindMessage(w.bastion, s1, true)) },
	} {
		t.Run(name, func(t *testing.T) {
			a := start(t, Config{})
			waits := dial(t, a.local)
			waits.expect(t, "add", addMessage(w.me, "me", []byte{constrainConfirm}), true)
			approve := dial(t, a.local)
			shown := make(chan error, 1)
			go func() {
				_, err := approve.ask(join([]byte{msgExtension}, text(extQuestions)))
				shown <- err
			}()
			await(t, a.questions.canAsk)
			for range maxConnections + 1 {
				flood(t, a).expect(t, "list", []byte{msgList}, true)
			}
			signed := make(chan error, 1)
			go func() {
				answer, err := waits.ask(loginMessage(s1, "root", w.me.public, nil))
				if err == nil && !yes(answer) {
					err = fmt.Errorf("answered %d", answer[0])
				}
				signed <- err
			}()
			select {
			case err := <-shown:
				if err != nil {
					t.Fatalf("keyway approve was ended: %v", err)
				}
			case err := <-signed:
				t.Fatalf("the ssh that waited got an answer that nobody gave: %v", err)
			}
			dial(t, a.local).expect(t, "an answer", join([]byte{msgExtension}, text(extAnswer), []byte{0, 0, 0, 1, 1, 0, 0, 0, 0}), true)
			if err := <-signed; err != nil {
				t.Errorf("the ssh that waited: %v", err)
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			if n := len(a.open); n > maxRemotePerPeer+5 {
				t.Errorf("%d connections are open", n)
			}
		})
	}
}

// TestRoomIsMadeByWhoHasMost checks that the agent ends a connection of the process that has the
// most.
func TestRoomIsMadeByWhoHasMost(t *testing.T) {
	a := New(Config{})
	open := func(pid int) *connection {
		here, there := net.Pipe()
		t.Cleanup(func() { there.Close() })
		c := &connection{agent: a, conn: here, peer: peer{pid: pid, known: true}, remote: true}
		c.touch()
		a.mu.Lock()
		defer a.mu.Unlock()
		a.enforceQuotaLocked(c)
		a.open[c] = struct{}{}
		return c
	}
	one := open(1)
	for pid := range 10 {
		for range maxRemotePerPeer {
			open(100 + pid)
		}
	}
	if _, there := a.open[one]; !there || len(a.open) != maxRemote {
		t.Errorf("%d connections, the one of another process is there: %v", len(a.open), there)
	}
}

// TestQuestionsAreLimitedOverall checks that forged first hops do not multiply the questions.
func TestQuestionsAreLimitedOverall(t *testing.T) {
	w := theWorld()
	me := newPerson()
	a := start(t, Config{Askers: []Asker{me}})
	dial(t, a.local).expect(t, "add", addMessage(w.me, "me"), true)
	for range 100 {
		me.said <- Answer{Allow: true, By: "a test"}
	}
	for _, through := range []string{a.forward, a.local} {
		before := len(me.asked)
		for i := range 40 {
			c := dial(t, through)
			c.expect(t, "bind", bindMessage(newEd25519(), fmt.Sprint("first", i), true), true)
			if _, err := c.ask(loginMessage(s2, fmt.Sprint("user", i), w.me.public, nil)); err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
		most := maxAllPerMinute - before
		if through == a.forward {
			most = maxPerMinute // no login vouches for any of these hops, so they count as one asker
		}
		if n := len(me.asked) - before; n != most {
			t.Errorf("%d questions, not %d", n, most)
		}
	}
	// The user is still asked a question of this machine.
	before := len(me.asked)
	c := dial(t, a.local)
	c.expect(t, "add", addMessage(w.other, "other", []byte{constrainConfirm}), true)
	c.expect(t, "login", loginMessage(s1, "root", w.other.public, nil), true)
	if len(me.asked) != before+1 {
		t.Error("this machine's question was not put")
	}
}

// TestRemoteQuestionsLeaveRoom checks that open questions of remote askers do not keep those of
// this machine from being asked.
func TestRemoteQuestionsLeaveRoom(t *testing.T) {
	q := &questions{pending: map[policy.Scope]*pending{}}
	open := func(f policy.Facts) bool {
		_, _, reason := q.join(&Question{Facts: f})
		return reason == ""
	}
	n := 0
	for hop := range 10 {
		for i := range 10 {
			f := policy.Facts{Remote: true, User: fmt.Sprint(i), From: policy.Host{Fingerprint: fmt.Sprint(hop)}}
			f.When = time.Now().Add(time.Duration(10*hop+i) * time.Hour)
			if open(f) {
				n++
			}
		}
		if n > maxPending*(hop+1) {
			t.Errorf("%d of %d hops", n, hop+1)
		}
	}
	if n != maxRemotePending || !open(policy.Facts{User: "me"}) {
		t.Errorf("%d remote questions, and none of this machine", n)
	}

	first := newPerson()
	d := newDialog([]Asker{first})
	var all sync.WaitGroup
	defer all.Wait()
	ask := func(remote bool) {
		all.Go(func() { d.Ask(t.Context(), Question{ID: 1, Facts: policy.Facts{Remote: remote}}) })
	}
	d.remote <- struct{}{} // a remote asker has the next turn
	for range 10 {
		ask(true)
	}
	for range 1000 {
		runtime.Gosched() // they wait for their turn by now
	}
	ask(false)
	if q := <-first.asked; q.Facts.Remote {
		t.Error("more than one remote question is before one of this machine")
	}
	for range 11 {
		first.said <- Answer{}
	}
	<-d.remote
}

const otherUser = 47001

// TestOtherUsersAreRefused checks that another user is refused, whatever the mode of the socket.
func TestOtherUsersAreRefused(t *testing.T) {
	for _, c := range []struct {
		uid, me int
		fine    bool
	}{{1000, 1000, true}, {0, 1000, true}, {1001, 1000, false}, {1000, 0, false}, {0, 0, true}, {-1, 1000, false}} {
		if (mayConnect(c.uid, c.me) == nil) != c.fine {
			t.Errorf("user %d at an agent of user %d: fine is not %v", c.uid, c.me, c.fine)
		}
	}
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return // only root can act as another user
	}
	a := start(t, Config{})
	// Not below TMPDIR: other users may have no access there.
	dir, err := os.MkdirTemp("/tmp", "kwu")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err == nil {
		err = errors.Join(os.Chmod(path, 0o666), os.Chmod(dir, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	defer serving.Wait()
	defer cancel()
	serving.Go(func() {
		if err := a.Serve(ctx, l, false); err != nil {
			t.Error(err)
		}
	})
	if out, err := listAs(ctx, otherUser, path); err != nil || out != "closed" {
		t.Errorf("another user: %q %v", out, err)
	}
	if e := a.log.last(); e.Event != "connect" || e.Verdict != audit.Denied || e.UID != otherUser {
		t.Errorf("%+v", e)
	}
	if out, err := listAs(ctx, 0, path); err != nil || out != "answered" {
		t.Errorf("the same user: %q %v", out, err)
	}
}
