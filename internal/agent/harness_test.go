package agent

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/audit"
	"keyway/internal/policy"
	"keyway/internal/sshwire"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// pair is a key pair of a user, a host or an authority.
type pair struct {
	private crypto.Signer
	signer  ssh.Signer
	public  ssh.PublicKey
}

func newPair(private crypto.Signer) pair {
	signer := must(ssh.NewSignerFromSigner(private))
	return pair{private, signer, signer.PublicKey()}
}

var pairs atomic.Uint64

// newEd25519 returns a new pair. The pairs are the same in every run, so that an input of the
// fuzzer has the same meaning in each process.
func newEd25519() pair {
	seed := sha256.Sum256(binary.BigEndian.AppendUint64(nil, pairs.Add(1)))
	return newPair(ed25519.NewKeyFromSeed(seed[:]))
}

var newRSA = sync.OnceValue(func() pair { return newPair(must(rsa.GenerateKey(rand.Reader, 2048))) })

func newECDSA(curve elliptic.Curve) pair { return newPair(must(ecdsa.GenerateKey(curve, rand.Reader))) }

// world has the keys and hosts of the scenarios.
type world struct {
	me, other, rsa        pair // keys of the user
	bastion, gpu, db, git pair // hosts
	ca                    pair
	second                pair // a workspace beside gpu, which is train
}

var theWorld = sync.OnceValue(func() world {
	return world{
		me: newEd25519(), other: newEd25519(), rsa: newRSA(),
		bastion: newECDSA(elliptic.P256()), gpu: newEd25519(), db: newRSA(), git: newECDSA(elliptic.P384()),
		ca: newEd25519(), second: newEd25519(),
	}
})

// hosts returns the names by which the user of the tests knows a host.
func (w world) hosts(key ssh.PublicKey) policy.Host {
	switch string(key.Marshal()) {
	case string(w.bastion.public.Marshal()):
		return policy.Host{Names: []string{"bastion"}}
	case string(w.gpu.public.Marshal()):
		return policy.Host{Names: []string{"train"}, Groups: []string{policy.GroupWorkspaces}, Place: "gpu1"}
	case string(w.second.public.Marshal()):
		return policy.Host{Names: []string{"second"}, Groups: []string{policy.GroupWorkspaces}, Place: "gpu1"}
	case string(w.git.public.Marshal()):
		return policy.Host{Names: []string{"github.com"}, Groups: []string{policy.GroupGit}}
	case string(w.db.public.Marshal()):
		return policy.Host{Names: []string{"db"}}
	}
	return policy.Host{}
}

func str(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = sshwire.AppendString(b, p)
	}
	return b
}

func text(s string) []byte { return sshwire.AppendString(nil, s) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// bindMessage returns a session-bind@openssh.com message.
func bindMessage(host pair, session string, forwarding bool) []byte {
	return rawBind(host.public, session, must(hostSignature(host.signer, session)), forwarding)
}

func hostSignature(s ssh.Signer, session string) ([]byte, error) {
	algorithm := ""
	if s.PublicKey().Type() == ssh.KeyAlgoRSA {
		algorithm = ssh.KeyAlgoRSASHA512
	}
	sig, err := s.(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, []byte(session), algorithm)
	if err != nil {
		return nil, err
	}
	return ssh.Marshal(sig), nil
}

func rawBind(key ssh.PublicKey, session string, sig []byte, forwarding bool) []byte {
	flag := byte(0)
	if forwarding {
		flag = 1
	}
	return join([]byte{msgExtension}, text(extSessionBind), str(key.Marshal(), []byte(session), sig), []byte{flag})
}

// loginData returns what a client has signed to log in; host is nil for the
// method without a host key.
func loginData(session, user string, key, host ssh.PublicKey) []byte {
	method := methodPublicKey
	if host != nil {
		method = methodHostbound
	}
	b := join(text(session), []byte{userauthRequest}, text(user), text("ssh-connection"), text(method),
		[]byte{1}, text(key.Type()), str(key.Marshal()))
	if host != nil {
		b = append(b, str(host.Marshal())...)
	}
	return b
}

func sshsigData(namespace string) []byte {
	return join([]byte(sshsigMagic), text(namespace), text(""), text("sha512"), text("hash"))
}

func signMessage(key ssh.PublicKey, data []byte) []byte {
	return join([]byte{msgSign}, str(key.Marshal(), data), []byte{0, 0, 0, 0})
}

func loginMessage(session, user string, key, host ssh.PublicKey) []byte {
	return signMessage(key, loginData(session, user, key, host))
}

func removeMessage(key ssh.PublicKey) []byte { return join([]byte{msgRemove}, str(key.Marshal())) }

// addMessage adds an Ed25519 key, with constraints as raw bytes.
func addMessage(p pair, comment string, constraints ...[]byte) []byte {
	kind := byte(msgAdd)
	if len(constraints) > 0 {
		kind = msgAddConstrained
	}
	var key []byte
	switch k := p.private.(type) {
	case ed25519.PrivateKey:
		key = join(text(ssh.KeyAlgoED25519), str(k[32:], k))
	case *rsa.PrivateKey:
		k.Precompute()
		key = join(text(ssh.KeyAlgoRSA), mpint(k.N.Bytes()), mpint([]byte{1, 0, 1}), mpint(k.D.Bytes()),
			mpint(k.Precomputed.Qinv.Bytes()), mpint(k.Primes[0].Bytes()), mpint(k.Primes[1].Bytes()))
	}
	return join([]byte{kind}, key, text(comment), join(constraints...))
}

func mpint(b []byte) []byte {
	if len(b) > 0 && b[0]&0x80 != 0 {
		b = append([]byte{0}, b...)
	}
	return str(b)
}

func lifetime(seconds uint32) []byte {
	return sshwire.AppendUint32([]byte{constrainLifetime}, seconds)
}

// hopOf is one end of a destination; the zero value is this machine.
type hopOf struct {
	user, name string
	keys       []ssh.PublicKey
	cas        []ssh.PublicKey
}

func (h hopOf) bytes() []byte {
	b := join(text(h.user), text(h.name), text(""))
	for _, k := range h.keys {
		b = append(append(b, str(k.Marshal())...), 0)
	}
	for _, k := range h.cas {
		b = append(append(b, str(k.Marshal())...), 1)
	}
	return b
}

type step struct{ from, to hopOf }

func restrict(steps ...step) []byte {
	var all []byte
	for _, s := range steps {
		all = append(all, str(join(str(s.from.bytes(), s.to.bytes()), text("")))...)
	}
	return join([]byte{constrainExtension}, text(extRestrict), str(all))
}

// client speaks to an agent in raw messages.
type client struct {
	conn net.Conn
	in   *bufio.Reader
}

func (c *client) Close() { c.conn.Close() }

func (c *client) ask(message []byte) ([]byte, error) {
	c.conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := c.conn.Write(frame(message)); err != nil {
		return nil, err
	}
	var header [4]byte
	if _, err := io.ReadFull(c.in, header[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, binary.BigEndian.Uint32(header[:]))
	_, err := io.ReadFull(c.in, answer)
	return answer, err
}

// yes reports whether the agent granted the request.
func yes(answer []byte) bool {
	return len(answer) > 0 && answer[0] != msgFailure && answer[0] != msgExtFailure
}

func listed(answer []byte) (keys []string) {
	r := sshwire.NewReader(answer)
	r.Byte()
	for range r.Uint32() {
		keys = append(keys, r.Text())
		r.Text()
	}
	return keys
}

// running is an agent of keyway's that serves.
type running struct {
	*Agent
	local, forward string // sockets
	log            *memoryLog
}

type memoryLog struct {
	mu     sync.Mutex
	events []audit.Event
	broken bool
}

func (l *memoryLog) Append(e audit.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return errors.New("the disk is full")
	}
	l.events = append(l.events, e)
	return nil
}

func (l *memoryLog) last() audit.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) == 0 {
		return audit.Event{}
	}
	return l.events[len(l.events)-1]
}

func start(t testing.TB, c Config) *running {
	t.Helper()
	dir, err := os.MkdirTemp("", "kwa")
	if err != nil {
		t.Fatal(err)
	}
	log := &memoryLog{}
	if c.Log == nil {
		c.Log = log
	}
	if c.Policy == nil {
		c.Policy = policy.Standard
	}
	if c.Hosts == nil {
		c.Hosts = theWorld().hosts
	}
	r := &running{Agent: New(c), local: filepath.Join(dir, "agent"), forward: filepath.Join(dir, "forward"), log: log}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for path, remote := range map[string]bool{r.local: false, r.forward: true} {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := r.Serve(ctx, l, remote); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		r.Forget("the test ended")
		os.RemoveAll(dir)
	})
	return r
}

// pardon forgets all earlier refusals.
func (r *running) pardon() {
	r.refusals.mu.Lock()
	defer r.refusals.mu.Unlock()
	r.refusals.askers = nil
}

func dial(t testing.TB, path string) *client {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{conn, bufio.NewReader(conn)}
	t.Cleanup(c.Close)
	return c
}

// expect sends a message and fails unless the answer is yes or no, as expected.
func (c *client) expect(t testing.TB, what string, message []byte, want bool) []byte {
	t.Helper()
	answer, err := c.ask(message)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if yes(answer) != want {
		t.Errorf("%s: answered %d, want %v", what, answer[0], want)
	}
	return answer
}
