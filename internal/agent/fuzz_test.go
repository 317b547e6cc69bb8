package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/policy"
	"keyway/internal/sshwire"
)

// FuzzHandle sends arbitrary messages on a connection that is bound as forwarded. It checks that
// the agent answers, signs no unknown data, and does not change the keys that it holds.
func FuzzHandle(f *testing.F) {
	for _, s := range scenarios() {
		for _, e := range s.steps {
			f.Add(e.message)
		}
	}
	w := theWorld()
	a := New(Config{Policy: policy.Standard, Hosts: w.hosts})
	local := &connection{agent: a}
	if !yes(local.handle(context.Background(), addMessage(w.me, "me"))) {
		f.Fatal("the key was not added")
	}
	forwarding := must(parseBind(sshwire.NewReader(bindMessage(w.bastion, s1, true)[len(text(extSessionBind))+1:])))
	f.Fuzz(func(t *testing.T, message []byte) {
		if len(message) == 0 || len(message) > maxMessage {
			return
		}
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		c := &connection{agent: a, conn: near, in: bufio.NewReader(near), route: route{remote: true, binds: []bind{forwarding}}}
		answer := c.handle(context.Background(), bytes.Clone(message))
		if len(answer) == 0 {
			t.Fatal("no answer")
		}
		if yes(answer) && message[0] != msgList && message[0] != msgExtension {
			t.Fatalf("message %d was granted to a remote asker", message[0])
		}
		if len(a.keys.all()) != 1 || a.keys.isLocked() {
			t.Fatal("a remote asker changed the agent")
		}
	})
}

// FuzzContent checks that data that is parsed as a login or an SSHSIG is exactly one: written again
// from the parsed values, it has the same bytes.
func FuzzContent(f *testing.F) {
	w := theWorld()
	f.Add(loginData(s1, "root", w.me.public, nil))
	f.Add(loginData(s1, "root", w.rsa.public, w.gpu.public))
	f.Add(sshsigData("git"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := parseContent(data)
		switch c.purpose {
		case policy.Login:
			if c.session == nil || c.key == nil || !bytes.HasPrefix(data, str(c.session)) || !bytes.Contains(data, []byte(c.user)) {
				t.Fatalf("%+v", c)
			}
			tail := str(c.key)
			if c.hostKey != nil {
				tail = append(tail, str(c.hostKey)...)
			}
			if len(data) < len(tail) || canonicalTail(data, c) == false {
				t.Fatalf("%+v is not what %x says", c, data)
			}
		case policy.Signature:
			if !bytes.HasPrefix(data, join([]byte(sshsigMagic), text(c.namespace))) {
				t.Fatalf("%+v", c)
			}
		case policy.Data:
		default:
			t.Fatalf("purpose %q", c.purpose)
		}
	})
}

// canonicalTail reads the login independently of the parser.
func canonicalTail(data []byte, c content) bool {
	method := methodPublicKey
	if c.hostKey != nil {
		method = methodHostbound
	}
	head := join(str(c.session), []byte{userauthRequest}, text(c.user), text("ssh-connection"), text(method), []byte{1})
	return bytes.HasPrefix(data, head)
}

// FuzzDestinations checks that an accepted destination constraint names a host with keys at every
// end, so that no constraint permits everything.
func FuzzDestinations(f *testing.F) {
	w := theWorld()
	to := hopOf{user: "root", name: "db", keys: nil}
	to.keys = append(to.keys, w.db.public)
	f.Add(str(join(str(hopOf{}.bytes(), to.bytes()), text(""))))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parseDestinations(data)
		if (len(list) == 0) == (err == nil) {
			t.Fatalf("%d destinations, %v", len(list), err)
		}
		for _, d := range list {
			if d.to.name == "" || len(d.to.keys) == 0 || (d.from.name == "") != d.from.isOrigin() {
				t.Fatalf("%+v", d)
			}
		}
		permitted(list, []bind{{key: w.db.public}}, nil, time.Now())
	})
}

// knownMessages returns binds, lists and requests to sign, which are valid in any order.
func knownMessages() (messages [][]byte) {
	w := theWorld()
	hosts := []pair{w.bastion, w.gpu, w.db}
	sessions := []string{s1, s2}
	for _, session := range sessions {
		for i, h := range hosts {
			another := hosts[(i+1)%len(hosts)]
			messages = append(messages, bindMessage(h, session, true), bindMessage(h, session, false),
				rawBind(h.public, session, must(hostSignature(another.signer, session)), true),
				rawBind(h.public, session, must(hostSignature(h.signer, "another")), false))
		}
		for _, key := range []pair{w.me, w.other} {
			for _, user := range []string{"root", "me"} {
				messages = append(messages, loginMessage(session, user, key.public, nil))
				for _, h := range hosts {
					messages = append(messages, loginMessage(session, user, key.public, h.public))
				}
			}
		}
	}
	for _, key := range []pair{w.me, w.other} {
		messages = append(messages, signMessage(key.public, sshsigData("git")), signMessage(key.public, []byte("data")))
	}
	return append(messages, []byte{msgList}, []byte{msgList})
}

// FuzzAgainstSSHAgent sends the same sequences, each byte a message, to ssh-agent and to keyway's
// agent with the preset openssh. keyway's agent must never grant a request that ssh-agent refuses,
// nor show a key that it hides. One key may be used anywhere, one is restricted.
func FuzzAgainstSSHAgent(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		route := make([]byte, 2+random.IntN(7))
		for i := range route {
			route[i] = byte(random.Uint32())
		}
		f.Add(route)
	}
	w := theWorld()
	agent := start(f, Config{Policy: policy.OpenSSH})
	theirs, ours := startStock(f, "ssh-agent"), agent.local
	gpu := hopOf{name: "train", keys: []ssh.PublicKey{w.gpu.public}}
	bastion := hopOf{name: "bastion", keys: []ssh.PublicKey{w.bastion.public}}
	rootAtDB := hopOf{user: "root", name: "db", keys: []ssh.PublicKey{w.db.public}}
	for _, socket := range []string{theirs, ours} {
		setup := dial(f, socket)
		setup.expect(f, "add", addMessage(w.me, "me", restrict(step{to: gpu}, step{to: bastion}, step{from: bastion, to: rootAtDB})), true)
		setup.expect(f, "add", addMessage(w.other, "other"), true)
	}
	messages := knownMessages()
	f.Fuzz(func(t *testing.T, route []byte) {
		if len(route) > maxRefusals/2 {
			return
		}
		agent.pardon()
		a, b := dial(t, theirs), dial(t, ours)
		for i, n := range route {
			m := messages[int(n)%len(messages)]
			their, err1 := a.ask(m)
			our, err2 := b.ask(m)
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			if yes(our) && !yes(their) {
				t.Fatalf("message %d of %v: we grant what ssh-agent refuses", i+1, route)
			}
			if m[0] == msgList && !subset(listed(our), listed(their)) {
				t.Fatalf("message %d of %v: we show a key that ssh-agent hides", i+1, route)
			}
		}
	})
}
