package agent

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"

	"golang.org/x/crypto/ssh"
)

// scenario is a series of raw messages on one or more connections. The same bytes go to keyway's
// agent and to ssh-agent. keyway's agent must refuse every message that ssh-agent refuses. The
// messages that it refuses besides are listed, each with its reason.
type scenario struct {
	name  string
	setup [][]byte // on a connection of its own before
	steps []exchange
}

type exchange struct {
	what    string
	message []byte
	stock   bool   // the answer of ssh-agent
	ours    bool   // keyway's answer under the standard policy
	openssh bool   // and under preset openssh
	why     string // why the answers of keyway's agent and ssh-agent differ
	fresh   bool   // on a new connection
}

// same returns a step on which both agents agree.
func same(what string, message []byte, yes bool) exchange {
	return exchange{what: what, message: message, stock: yes, ours: yes, openssh: yes}
}

// stricter returns a step that only ssh-agent grants, whatever the policy.
func stricter(what string, message []byte, why string) exchange {
	return exchange{what: what, message: message, stock: true, why: why}
}

// byPolicy returns a step that the standard policy refuses if no user can be asked.
func byPolicy(what string, message []byte, why string) exchange {
	return exchange{what: what, message: message, stock: true, openssh: true, why: why}
}

// further returns a step that keyway's agent grants and ssh-agent of Debian 12 does not.
func further(what string, message []byte, why string) exchange {
	return exchange{what: what, message: message, ours: true, openssh: true, why: why}
}

func (e exchange) onNew() exchange { e.fresh = true; return e }

const s1, s2, s3 = "session one", "session two", "session three"

func hostCert(w world, host pair, change func(*ssh.Certificate)) pair {
	cert := &ssh.Certificate{Key: host.public, CertType: ssh.HostCert, ValidPrincipals: []string{"train"}, ValidBefore: ssh.CertTimeInfinity}
	if change != nil {
		change(cert)
	}
	signCert(cert, w.ca)
	return pair{host.private, must(ssh.NewCertSigner(cert, host.signer)), cert}
}

// signCert signs any certificate, also one without principals, which x/crypto does not:
// the signature is over all that comes before it (OpenSSH's PROTOCOL.certkeys).
func signCert(cert *ssh.Certificate, by pair) {
	cert.Nonce, cert.SignatureKey, cert.Signature = []byte("nonce"), by.public, nil
	signed := cert.Marshal()
	cert.Signature = must(by.signer.Sign(rand.Reader, signed[:len(signed)-len(text(""))]))
}

// certBind binds a host certificate: the host signs with its plain key.
func certBind(cert pair, plain pair, session string) []byte {
	return rawBind(cert.public, session, must(hostSignature(plain.signer, session)), false)
}

func scenarios() []scenario {
	w := theWorld()
	me, rsaKey := w.me.public, w.rsa.public
	add := [][]byte{addMessage(w.me, "me")}
	junk := must(hostSignature(w.db.signer, "another"))
	const policySays = "a remote asker, and no rule allows it"
	const remoteOp = "a remote asker may only list and sign"
	const untrusted = "a bind that failed leaves nothing to believe"
	atGPU := hopOf{name: "train", keys: []ssh.PublicKey{w.gpu.public}}
	bastion := hopOf{name: "bastion", keys: []ssh.PublicKey{w.bastion.public}}
	rootAtDB := hopOf{user: "root", name: "db", keys: []ssh.PublicKey{w.db.public}}
	restricted := [][]byte{addMessage(w.me, "me", restrict(step{to: atGPU}, step{to: bastion}, step{from: bastion, to: rootAtDB}))}
	farther := [][]byte{addMessage(w.me, "me", restrict(step{to: bastion}, step{from: bastion, to: atGPU}, step{from: atGPU, to: rootAtDB}))}
	byCA := [][]byte{addMessage(w.me, "me", restrict(step{to: hopOf{name: "train", cas: []ssh.PublicKey{w.ca.public}}}))}
	cert := hostCert(w, w.gpu, nil)
	elsewhere := hostCert(w, w.gpu, func(c *ssh.Certificate) { c.ValidPrincipals = []string{"elsewhere"} })
	nobody := hostCert(w, w.gpu, func(c *ssh.Certificate) { c.ValidPrincipals = nil })
	userCert := hostCert(w, w.gpu, func(c *ssh.Certificate) { c.CertType = ssh.UserCert })
	expired := hostCert(w, w.gpu, func(c *ssh.Certificate) { c.ValidBefore = 1000 })
	many := make([]exchange, 0, maxBinds+1)
	for i := range maxBinds + 1 {
		session := string(binary.BigEndian.AppendUint32(nil, uint32(i)))
		many = append(many, same("bind", bindMessage(w.gpu, session, true), i < maxBinds))
	}
	return []scenario{
		{"nothing bound", add, []exchange{
			same("login", loginMessage(s1, "root", me, nil), true),
			same("hostbound login", loginMessage(s1, "root", me, w.gpu.public), true),
			same("signature", signMessage(me, sshsigData("git")), true),
			same("data", signMessage(me, []byte("any data")), true),
			same("no data", signMessage(me, nil), true),
			same("a key that is not held", loginMessage(s1, "root", w.other.public, nil), false),
			same("junk for a key", join([]byte{msgSign}, text("junk"), text("x"), []byte{0, 0, 0, 0}), false),
			same("cut", []byte{msgSign, 0, 0}, false),
			same("list", []byte{msgList}, true),
		}},
		{"messages nobody knows", nil, []exchange{
			same("version 1 list", []byte{1}, false),
			same("a number without meaning", []byte{200, 1, 2, 3}, false),
			same("an answer", []byte{msgSuccess}, false),
			same("an extension without meaning", join([]byte{msgExtension}, text("no@such")), false),
			further("query", join([]byte{msgExtension}, text(extQuery)), "newer than Debian 12's ssh-agent"),
		}},
		{"bound for a login", add, []exchange{
			same("bind", bindMessage(w.gpu, s1, false), true),
			same("login", loginMessage(s1, "root", me, nil), true),
			same("hostbound", loginMessage(s1, "root", me, w.gpu.public), true),
			stricter("login for another session", loginMessage(s2, "root", me, nil), "not the session that was bound"),
			stricter("hostbound to another host", loginMessage(s1, "root", me, w.db.public), "not the host that was bound"),
			stricter("data", signMessage(me, []byte("any data")), "no login, on a connection for one"),
			stricter("a login that names another key", signMessage(me, loginData(s1, "root", w.other.public, nil)), "not the key that signs"),
			stricter("a login with bytes after its end", signMessage(me, append(loginData(s1, "root", me, nil), 0)), "no login, on a connection for one"),
			same("signature", signMessage(me, sshsigData("file")), true),
			same("bind for another", bindMessage(w.db, s2, false), false),
			stricter("login after a bind failed", loginMessage(s1, "root", me, nil), untrusted),
		}},
		{"every type of host key", add, []exchange{
			same("Ed25519", bindMessage(w.gpu, s1, false), true).onNew(),
			same("ECDSA P-256", bindMessage(w.bastion, s1, false), true).onNew(),
			same("ECDSA P-384", bindMessage(w.git, s1, false), true).onNew(),
			same("RSA with SHA-512", bindMessage(w.db, s1, false), true).onNew(),
			same("certificate", certBind(cert, w.gpu, s1), true).onNew(),
			same("login", loginMessage(s1, "root", me, cert.public), true),
			stricter("RSA with SHA-1", rawBind(w.db.public, s1, sha1Signature(w.db, s1), false), "SHA-1 proves nothing").onNew(),
		}},
		{"forged binds", add, []exchange{
			same("a signature of something else", rawBind(w.db.public, s1, junk, false), false).onNew(),
			stricter("login", loginMessage(s1, "root", me, nil), untrusted),
			same("another host's signature", rawBind(w.gpu.public, s1, must(hostSignature(w.db.signer, s1)), false), false).onNew(),
			same("no signature", rawBind(w.gpu.public, s1, nil, false), false).onNew(),
			same("junk for a key", join([]byte{msgExtension}, text(extSessionBind), text("junk"), text(s1), str(junk), []byte{0}), false).onNew(),
			same("cut", join([]byte{msgExtension}, text(extSessionBind), text("junk")), false).onNew(),
			stricter("signature after that", signMessage(me, sshsigData("git")), untrusted),
			stricter("data after that", signMessage(me, []byte("x")), untrusted),
		}},
		{"forwarded", add, []exchange{
			same("bind", bindMessage(w.bastion, s1, true), true),
			same("list", []byte{msgList}, true),
			byPolicy("login of a client that does not bind", loginMessage(s2, "root", me, nil), policySays),
			byPolicy("the same, in the name of a workspace", loginMessage(s2, "root", me, w.gpu.public), policySays),
			byPolicy("login for the forwarding's own session", loginMessage(s1, "root", me, nil), policySays),
			byPolicy("git signature", signMessage(me, sshsigData("git")), policySays),
			byPolicy("data", signMessage(me, []byte("x")), policySays),
			stricter("add", addMessage(w.other, "planted"), remoteOp),
			stricter("remove", removeMessage(me), remoteOp),
			stricter("remove all", []byte{msgRemoveAll}, remoteOp),
			same("load", join([]byte{msgAddCard}, text("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"), text("1234")), false),
		}},
		{"forwarded and locked", add, []exchange{
			same("bind", bindMessage(w.bastion, s1, true), true),
			stricter("lock", join([]byte{msgLock}, text("password")), remoteOp),
		}},
		{"the same way twice", add, []exchange{
			same("bind", bindMessage(w.bastion, s1, true), true),
			same("the same bind", bindMessage(w.bastion, s1, true), true),
			same("the session of another host", rawBind(w.db.public, s1, must(hostSignature(w.db.signer, s1)), true), false),
		}},
		{"forwarded, then not", add, []exchange{
			same("bind", bindMessage(w.bastion, s1, true), true),
			stricter("the same session for a login", bindMessage(w.bastion, s1, false), "one session has one purpose"),
			stricter("login", loginMessage(s1, "root", me, nil), untrusted),
		}},
		{"too many hops", add, many},
		{"forwarded by a workspace to another", add, []exchange{
			same("bind", bindMessage(w.second, s1, true), true),
			same("bind", bindMessage(w.gpu, s2, false), true),
			same("login", loginMessage(s2, "root", me, w.gpu.public), true),
			same("login of a client without hostbound", loginMessage(s2, "root", me, nil), true),
			stricter("login for the session before", loginMessage(s1, "root", me, nil), "not the session that was bound last"),
			stricter("login at another host", loginMessage(s2, "root", me, w.db.public), "not the host that was bound last"),
			byPolicy("git signature", signMessage(me, sshsigData("git")), policySays),
			stricter("data", signMessage(me, []byte("x")), "no login, on a connection for one"),
		}},
		{"forwarded by a workspace", add, []exchange{
			same("bind", bindMessage(w.gpu, s1, true), true),
			byPolicy("login for its own session", loginMessage(s1, "root", me, w.gpu.public), policySays),
			byPolicy("login of a client that does not bind", loginMessage(s2, "root", me, w.gpu.public), policySays),
		}},
		{"forwarded by a workspace to a git host", add, []exchange{
			same("bind", bindMessage(w.gpu, s1, true), true),
			same("bind", bindMessage(w.git, s2, false), true),
			same("login", loginMessage(s2, "git", me, nil), true),
		}},
		{"forwarded by a bastion to a workspace", add, []exchange{
			same("bind", bindMessage(w.bastion, s1, true), true),
			same("bind", bindMessage(w.gpu, s2, false), true),
			byPolicy("login", loginMessage(s2, "root", me, w.gpu.public), policySays),
		}},
		{"forwarded by a bastion to a git host", add, []exchange{
			same("bind", bindMessage(w.bastion, s1, true), true),
			same("bind", bindMessage(w.git, s2, false), true),
			byPolicy("login", loginMessage(s2, "git", me, nil), policySays),
		}},
		{"forwarded beyond a workspace to a git host", add, []exchange{
			same("bind", bindMessage(w.gpu, s1, true), true),
			same("bind", bindMessage(w.bastion, s2, true), true),
			same("bind", bindMessage(w.git, s3, false), true),
			byPolicy("login", loginMessage(s3, "git", me, nil), "the asker is behind a host that is no workspace"),
		}},
		{"restricted key, on a way that was forged", farther, []exchange{
			same("bind", bindMessage(w.bastion, s1, true), true),
			same("bind of a host that only said hello", bindMessage(w.gpu, s2, true), true),
			same("bind", bindMessage(w.db, s3, false), true),
			byPolicy("login", loginMessage(s3, "root", me, w.db.public), "no login was signed for the session with the host between"),
		}},
		{"restricted key, on a way that this agent has signed for", farther, []exchange{
			same("bind", bindMessage(w.bastion, s1, true), true),
			same("bind", bindMessage(w.gpu, s2, false), true),
			same("login at the host between", loginMessage(s2, "root", me, w.gpu.public), true),
			same("bind", bindMessage(w.bastion, s1, true), true).onNew(),
			same("bind", bindMessage(w.gpu, s2, true), true),
			same("bind", bindMessage(w.db, s3, false), true),
			same("login", loginMessage(s3, "root", me, w.db.public), true),
			same("bind", bindMessage(w.bastion, s1, true), true).onNew(),
			same("bind of another session with that host", bindMessage(w.gpu, "session four", true), true),
			same("bind", bindMessage(w.db, s3, false), true),
			byPolicy("login", loginMessage(s3, "root", me, w.db.public), "no login was signed for this session"),
		}},
		{"forwarded to a host nobody knows", add, []exchange{
			same("bind", bindMessage(w.bastion, s1, true), true),
			same("bind", bindMessage(w.db, s2, false), true),
			byPolicy("login", loginMessage(s2, "root", me, w.db.public), policySays),
		}},
		{"forwarded, and a forged bind for the git host", add, []exchange{
			same("bind", bindMessage(w.bastion, s1, true), true),
			same("forged", rawBind(w.git.public, s2, junk, false), false),
			stricter("data", signMessage(me, []byte("x")), untrusted),
			stricter("login", loginMessage(s2, "git", me, w.git.public), untrusted),
		}},
		{"restricted key", restricted, []exchange{
			same("login without a bind", loginMessage(s1, "root", me, nil), false),
			same("signature", signMessage(me, sshsigData("git")), false),
			same("data", signMessage(me, []byte("x")), false),
			same("bind", bindMessage(w.gpu, s1, false), true),
			same("login", loginMessage(s1, "root", me, nil), true),
			same("hostbound login", loginMessage(s1, "any", me, w.gpu.public), true),
			same("another session", loginMessage(s2, "root", me, nil), false),
			same("another host in the data", loginMessage(s1, "root", me, w.db.public), false),
			same("another key in the data", signMessage(me, loginData(s1, "root", w.other.public, nil)), false),
			same("signature when bound", signMessage(me, sshsigData("git")), false),
		}},
		{"restricted key at a host that is not listed", restricted, []exchange{
			same("bind", bindMessage(w.git, s1, false), true),
			same("login", loginMessage(s1, "git", me, nil), false),
			same("remove what cannot be seen", removeMessage(me), false),
			same("replace what cannot be seen", addMessage(w.me, "me"), false),
		}},
		{"restricted key, on its way", restricted, []exchange{
			same("bind", bindMessage(w.bastion, s1, true), true),
			same("list", []byte{msgList}, true),
			same("login on the forwarding", loginMessage(s1, "root", me, w.bastion.public), false),
			same("bind", bindMessage(w.db, s2, false), true),
			same("login", loginMessage(s2, "root", me, w.db.public), true),
			same("login without the host key", loginMessage(s2, "root", me, nil), false),
			same("as another user", loginMessage(s2, "admin", me, w.db.public), false),
			same("for the session before", loginMessage(s1, "root", me, w.bastion.public), false),
		}},
		{"restricted key, off its way", restricted, []exchange{
			same("bind", bindMessage(w.bastion, s1, true), true),
			same("bind", bindMessage(w.git, s2, false), true),
			same("login", loginMessage(s2, "root", me, w.git.public), false),
		}},
		{"restricted key, straight to the end of its way", restricted, []exchange{
			same("bind", bindMessage(w.db, s1, false), true),
			same("login", loginMessage(s1, "root", me, w.db.public), false),
		}},
		{"restricted key, beyond the end of its way", restricted, []exchange{
			same("bind", bindMessage(w.gpu, s1, true), true),
			same("bind", bindMessage(w.db, s2, false), true),
			same("login", loginMessage(s2, "root", me, w.db.public), false),
		}},
		{"restricted key after a forged bind", restricted, []exchange{
			same("forged", rawBind(w.gpu.public, s1, junk, false), false),
			same("login", loginMessage(s1, "root", me, nil), false),
		}},
		{"restricted to hosts of an authority", byCA, []exchange{
			same("its host", certBind(cert, w.gpu, s1), true).onNew(),
			same("login", loginMessage(s1, "root", me, cert.public), true),
			same("the host without its certificate", bindMessage(w.gpu, s1, false), true).onNew(),
			same("login", loginMessage(s1, "root", me, nil), false),
			same("a certificate for another name", certBind(elsewhere, w.gpu, s1), true).onNew(),
			same("login", loginMessage(s1, "root", me, elsewhere.public), false),
			same("a certificate for no name", certBind(nobody, w.gpu, s1), true).onNew(),
			stricter("login", loginMessage(s1, "root", me, nobody.public), "a certificate for no host is for none"),
			same("a user's certificate", certBind(userCert, w.gpu, s1), true).onNew(),
			same("login", loginMessage(s1, "root", me, userCert.public), false),
			same("an expired certificate", certBind(expired, w.gpu, s1), true).onNew(),
			same("login", loginMessage(s1, "root", me, expired.public), false),
		}},
		{"adding", nil, []exchange{
			same("a key", addMessage(w.me, "me"), true),
			same("it again", addMessage(w.me, "me too"), true),
			same("RSA", addMessage(w.rsa, "rsa"), true),
			same("RSA signs", loginMessage(s1, "root", rsaKey, nil), true),
			same("for a while", addMessage(w.other, "other", lifetime(1000)), true),
			same("two lifetimes", addMessage(w.other, "other", lifetime(10), lifetime(10)), false),
			same("confirm twice", addMessage(w.other, "other", []byte{constrainConfirm, constrainConfirm}), false),
			same("a constraint nobody knows", addMessage(w.other, "other", []byte{77}), false),
			same("an extension nobody knows", addMessage(w.other, "other", join([]byte{constrainExtension}, text("no@such"), text(""))), false),
			same("a lifetime that is cut", addMessage(w.other, "other", []byte{constrainLifetime, 0}), false),
			same("certificates for a card", addMessage(w.other, "other", join([]byte{constrainExtension}, text(extAssociatedCerts), []byte{1}, text(""))), false),
			same("a provider for a key of software", addMessage(w.other, "other", join([]byte{constrainExtension}, text(extSKProvider), text("internal"))), false),
			further("a number of signatures", addMessage(w.other, "other", []byte{constrainMaxSigns, 0, 0, 0, 1}), "ssh-agent can only count for XMSS keys"),
			same("the one signature", loginMessage(s1, "root", w.other.public, nil), true),
			stricter("one more", loginMessage(s1, "root", w.other.public, nil), "the key was for one"),
			same("a type nobody knows", join([]byte{msgAdd}, text("ssh-nonsense"), text("x"), text("y")), false),
			same("nothing", []byte{msgAdd}, false),
			same("remove", removeMessage(me), true),
			same("remove it again", removeMessage(me), false),
			same("remove all", []byte{msgRemoveAll}, true),
			same("remove all of version 1", []byte{msgRemoveAllV1}, true),
		}},
		{"bad destinations", nil, []exchange{
			stricter("none", addMessage(w.me, "me", restrict()), "a restriction to nothing would be none"),
			same("no host", addMessage(w.me, "me", restrict(step{to: hopOf{}})), false),
			same("a host without keys", addMessage(w.me, "me", restrict(step{to: hopOf{name: "x"}})), false),
			same("a start without keys", addMessage(w.me, "me", restrict(step{from: hopOf{name: "x"}, to: atGPU})), false),
			same("a start with a user", addMessage(w.me, "me", restrict(step{from: hopOf{user: "x", name: "b", keys: bastion.keys}, to: atGPU})), false),
			same("twice", addMessage(w.me, "me", restrict(step{to: atGPU}), restrict(step{to: atGPU})), false),
			same("junk", addMessage(w.me, "me", join([]byte{constrainExtension}, text(extRestrict), text("junk"))), false),
			same("reserved bytes", addMessage(w.me, "me", join([]byte{constrainExtension}, text(extRestrict),
				str(str(join(str(hopOf{}.bytes(), atGPU.bytes()), text("x")))))), false),
		}},
		{"locked", add, []exchange{
			same("an empty password", join([]byte{msgLock}, text("")), false),
			same("unlock what is not locked", join([]byte{msgUnlock}, text("password")), false),
			same("lock", join([]byte{msgLock}, text("password")), true),
			same("lock again", join([]byte{msgLock}, text("password")), false),
			same("login", loginMessage(s1, "root", me, nil), false),
			same("add", addMessage(w.other, "other"), false),
			same("remove", removeMessage(me), false),
			same("remove all", []byte{msgRemoveAll}, false),
			same("list", []byte{msgList}, true),
			same("a wrong password", join([]byte{msgUnlock}, text("wrong")), false),
			further("a bind", bindMessage(w.bastion, s1, true), "recorded since OpenSSH 10.5, or the forwarding would count as local").onNew(),
			{what: "unlock", message: join([]byte{msgUnlock}, text("password")), stock: true, ours: true, openssh: true, fresh: true},
			same("login", loginMessage(s1, "root", me, nil), true),
		}},
		{"cards", nil, []exchange{
			same("a library in no permitted place", join([]byte{msgAddCard}, text("/tmp/evil.so"), text("")), false),
			same("a relative path", join([]byte{msgAddCard}, text("evil.so"), text("")), false),
			same("a library that is not there", join([]byte{msgAddCard}, text("/usr/lib/no-such.so"), text("")), false),
			same("a file that is no library", join([]byte{msgAddCard}, text("/usr/lib/os-release"), text("")), false),
			same("remove what is not loaded", join([]byte{msgRemoveCard}, text("/usr/lib/os-release"), text("")), false),
		}},
	}
}

func sha1Signature(p pair, session string) []byte {
	sig := must(p.signer.(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, []byte(session), ssh.KeyAlgoRSA))
	return ssh.Marshal(sig)
}

// subset reports whether each of our keys is one of theirs.
func subset(ours, theirs []string) bool {
	for _, k := range ours {
		found := false
		for _, other := range theirs {
			found = found || bytes.Equal([]byte(k), []byte(other))
		}
		if !found {
			return false
		}
	}
	return true
}
