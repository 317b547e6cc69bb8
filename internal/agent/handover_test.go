package agent

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/identity"
	"keyway/internal/policy"
)

// handedOver is an agent on sockets of its own. It can be frozen and replaced by another agent.
type handedOver struct {
	*Agent
	log       *memoryLog
	listeners map[bool]net.Listener // remote or not
	stop      context.CancelFunc
	done      sync.WaitGroup
}

func (h *handedOver) serve() {
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	h.done.Go(func() { h.Resume(ctx) })
	for remote, l := range h.listeners {
		h.done.Go(func() { h.Serve(ctx, l, remote) })
	}
}

// next freezes the agent and returns its successor.
func (h *handedOver) next(t *testing.T) *handedOver {
	t.Helper()
	if !h.AwaitQuiet(t.Context()) {
		t.Fatal("it is never quiet")
	}
	h.Freeze()
	h.done.Wait()
	state, files, err := h.HandOver()
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for _, f := range files {
		conn, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		conns = append(conns, conn)
	}
	n := &handedOver{Agent: New(h.config), log: h.log, listeners: h.listeners}
	if err := n.TakeOver(state, conns); err != nil {
		t.Fatal(err)
	}
	h.Forget("it is another's now")
	h.stop()
	n.serve()
	return n
}

func newHandedOver(t *testing.T, c Config) (h *handedOver, local, forward string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "kwh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	log := &memoryLog{}
	c.Log, c.Hosts = log, theWorld().hosts
	if c.Policy == nil {
		c.Policy = policy.Standard
	}
	h = &handedOver{Agent: New(c), log: log, listeners: map[bool]net.Listener{}}
	local, forward = filepath.Join(dir, "l"), filepath.Join(dir, "f")
	for path, remote := range map[string]bool{local: false, forward: true} {
		if h.listeners[remote], err = net.Listen("unix", path); err != nil {
			t.Fatal(err)
		}
	}
	h.serve()
	return h, local, forward
}

// scripted is a user with a list of answers, who answers no after the last one.
type scripted struct {
	mu      sync.Mutex
	answers []Answer
	asked   []Question
}

func (*scripted) CanAsk() bool { return true }

func (s *scripted) Ask(_ context.Context, q Question) (a Answer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, q)
	if len(s.answers) > 0 {
		a, s.answers = s.answers[0], s.answers[1:]
	}
	return a, nil
}

// TestHandOver checks that keys, their constraints, and connections with their binds survive.
func TestHandOver(t *testing.T) {
	w := theWorld()
	me := &scripted{answers: []Answer{{Allow: true, Ever: true, By: "a test"}}}
	h, local, forward := newHandedOver(t, Config{Askers: []Asker{me}})
	c := dial(t, local)
	toGPU := restrict(step{to: hopOf{name: "train", keys: []ssh.PublicKey{w.gpu.public}}})
	c.expect(t, "add", addMessage(w.me, "me"), true)
	c.expect(t, "add restricted", addMessage(w.other, "restricted", toGPU, lifetime(1000), []byte{constrainMaxSigns, 0, 0, 0, 2}), true)
	c.expect(t, "add RSA", addMessage(w.rsa, "confirmed", []byte{constrainConfirm}), true)
	c.expect(t, "triggers", join([]byte{msgExtension}, text(extForget), text("idle=5h,sleep")), true)
	gpu, db, bastion := dial(t, local), dial(t, local), dial(t, local)
	gpu.expect(t, "bind", bindMessage(w.gpu, s1, false), true)
	db.expect(t, "bind", bindMessage(w.bastion, s1, true), true)
	db.expect(t, "bind", bindMessage(w.db, s2, false), true)
	bastion.expect(t, "bind", bindMessage(w.bastion, s1, true), true)
	untrusted, far, silent := dial(t, local), dial(t, forward), dial(t, local)
	untrusted.expect(t, "junk", rawBind(w.gpu.public, s1, nil, false), false)
	far.expect(t, "list", []byte{msgList}, true)
	forwarded := dial(t, forward)
	dialBound := dial(t, local)
	dialBound.expect(t, "bind", bindMessage(w.second, "mine", false), true)
	dialBound.expect(t, "login at a workspace", loginMessage("mine", "root", w.me.public, nil), true)
	forwarded.expect(t, "bind", bindMessage(w.second, "not mine", true), true)
	toGit := loginMessage(s3, "git", w.me.public, nil)
	toDB := loginMessage(s2, "root", w.me.public, w.db.public)
	db.expect(t, "login that is asked for", toDB, true)
	gpu.expect(t, "first of two signatures", loginMessage(s1, "root", w.other.public, w.gpu.public), true)

	for range 2 {
		h = h.next(t)
		db.expect(t, "login that was allowed for good", toDB, true)
		db.expect(t, "bind after a login", bindMessage(w.gpu, s3, false), false)
		db.Close()
		db = dial(t, local)
		db.expect(t, "bind", bindMessage(w.bastion, s1, true), true)
		db.expect(t, "bind", bindMessage(w.db, s2, false), true)
		bastion.expect(t, "data from far away", signMessage(w.me.public, []byte("x")), false)
		bastion.expect(t, "add from far away", addMessage(w.ca, "planted"), false)
		bastion.expect(t, "bind for another purpose", bindMessage(w.bastion, s1, true), true)
		far.expect(t, "remove all through the socket for forwarding", []byte{msgRemoveAll}, false)
		vouched := dial(t, forward)
		vouched.expect(t, "bind", bindMessage(w.second, "mine", true), true)
		vouched.expect(t, "bind", bindMessage(w.git, s3, false), true)
		vouched.expect(t, "login from where the user is logged in", toGit, true)
		forwarded.expect(t, "bind", bindMessage(w.git, s3, false), true)
		forwarded.expect(t, "login from where the user is not", toGit, false)
		forwarded.Close()
		forwarded = dial(t, forward)
		forwarded.expect(t, "bind", bindMessage(w.second, "not mine", true), true)
		untrusted.expect(t, "login on a connection that cannot be believed", loginMessage(s1, "root", w.me.public, nil), false)
		gpu.expect(t, "login for another session", loginMessage(s2, "root", w.me.public, nil), false)
		dial(t, local).expect(t, "restricted key without a bind", loginMessage(s1, "root", w.other.public, nil), false)
		if n := len(listed(silent.expect(t, "list", []byte{msgList}, true))); n != 3 {
			t.Errorf("%d keys", n)
		}
	}
	gpu.expect(t, "second of two signatures", loginMessage(s1, "root", w.other.public, w.gpu.public), true)
	gpu.expect(t, "third of two signatures", loginMessage(s1, "root", w.other.public, w.gpu.public), false)
	silent.expect(t, "a key to be confirmed", loginMessage(s1, "root", w.rsa.public, nil), false)
	if n := len(me.asked); n != 3 || !me.asked[2].Confirm {
		t.Errorf("%+v", me.asked)
	}
	if f := h.triggers(); f != (policy.Forget{Idle: 5 * time.Hour, Sleep: true}) {
		t.Errorf("%+v", f)
	}
	h.stop()
	h.done.Wait()
	h.Forget("the test ended")
}

func TestHandOverWhileLocked(t *testing.T) {
	w := theWorld()
	h, local, _ := newHandedOver(t, Config{})
	c := dial(t, local)
	c.expect(t, "add", addMessage(w.me, "me"), true)
	c.expect(t, "lock", join([]byte{msgLock}, text("password")), true)
	h = h.next(t)
	c.expect(t, "login while locked", loginMessage(s1, "root", w.me.public, nil), false)
	c.expect(t, "wrong password", join([]byte{msgUnlock}, text("no")), false)
	c.expect(t, "unlock", join([]byte{msgUnlock}, text("password")), true)
	c.expect(t, "login", loginMessage(s1, "root", w.me.public, nil), true)
	h.stop()
	h.done.Wait()
}

// TestHandOverUnderLoad checks that no request is lost, at whatever moment it arrives.
func TestHandOverUnderLoad(t *testing.T) {
	w := theWorld()
	h, local, _ := newHandedOver(t, Config{})
	dial(t, local).expect(t, "add", addMessage(w.me, "me"), true)
	login := loginMessage(s1, "root", w.me.public, nil)
	var askers sync.WaitGroup
	stop := make(chan struct{})
	for i := range 8 {
		askers.Go(func() {
			c := dial(t, local)
			for {
				select {
				case <-stop:
					return
				default:
				}
				if i%2 == 0 { // on a new connection each time
					c.Close()
					c = dial(t, local)
				}
				if answer, err := c.ask(login); err != nil || !yes(answer) {
					t.Errorf("asker %d: %v %v", i, answer, err)
					return
				}
			}
		})
	}
	for range 20 {
		h.Freeze()
		h.done.Wait()
		h.stop = nil
		state, files, err := h.HandOver()
		if err != nil {
			t.Fatal(err)
		}
		var conns []net.Conn
		for _, f := range files {
			conns = append(conns, must(net.FileConn(f)))
			f.Close()
		}
		n := &handedOver{Agent: New(h.config), log: h.log, listeners: h.listeners}
		if err := n.TakeOver(state, conns); err != nil {
			t.Fatal(err)
		}
		for c := range h.open {
			c.conn.Close()
		}
		n.serve()
		h = n
	}
	close(stop)
	askers.Wait()
	h.stop()
	h.done.Wait()
}

// TestThaw checks that an agent continues unchanged after a failed handover.
func TestThaw(t *testing.T) {
	w := theWorld()
	h, local, _ := newHandedOver(t, Config{})
	c := dial(t, local)
	c.expect(t, "add", addMessage(w.me, "me"), true)
	h.Freeze()
	h.done.Wait()
	if !h.Frozen() {
		t.Error("not frozen")
	}
	h.Thaw()
	h.serve()
	c.expect(t, "login", loginMessage(s1, "root", w.me.public, nil), true)
	dial(t, local).expect(t, "login on a new connection", loginMessage(s1, "root", w.me.public, nil), true)
	h.stop()
	h.done.Wait()
}

// TestServeWhileFrozen checks that an agent may be frozen before it begins to serve.
func TestServeWhileFrozen(t *testing.T) {
	a := New(Config{})
	l := must(net.Listen("unix", filepath.Join(t.TempDir(), "s")))
	defer l.Close()
	a.Freeze()
	served := make(chan error, 1)
	go func() { served <- a.Serve(t.Context(), l, false) }()
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it serves")
	}
}

func FuzzTakeOver(f *testing.F) {
	w := theWorld()
	a := New(Config{})
	c := connection{agent: a, route: route{remote: true, untrusted: "x"}}
	f.Add(join([]byte{handoverVersion}, make([]byte, 8), text("{}"), c.append(nil), text(""), []byte{0}, text("salt"), text("hash"),
		testHeld(w).append(nil, addMessage(w.me, "")[1:])))
	f.Fuzz(func(t *testing.T, state []byte) {
		a := New(Config{})
		here, there := net.Pipe()
		defer here.Close()
		defer there.Close()
		a.TakeOver(state, []net.Conn{here})
		a.Forget("the test ended")
	})
}

func testHeld(w world) *held { return &held{key: must(identity.Foreign(w.me.public.Marshal(), "me"))} }
