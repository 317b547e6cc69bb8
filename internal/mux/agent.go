//go:build linux

package mux

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"keyway/internal/sshwire"
	"keyway/internal/unixsock"
)

// The extensions that this package uses (docs/PROTOCOL.agent.md).
const (
	extBind    = "session-bind@openssh.com"
	extSession = "session@keyway"

	// answerTime is the time that the agent has to decide. It does not ask the user.
	answerTime = 5 * time.Second
)

// permit asks the agent about logins and sessions at one host, over a connection that is bound to
// it.
type permit struct {
	socket  string
	wire    *observed
	hostKey ssh.PublicKey
	user    string
	self    int // the mux's own pid, which requests the login

	mu      sync.Mutex
	session []byte // identifier of the SSH session
	key     []byte // the key that logged in
	conn    net.Conn
	agent   agent.ExtendedAgent
}

// signers returns the agent's keys. Each signs only if the agent would allow a session with it
// without asking the user.
func (p *permit) signers() ([]ssh.Signer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.dial(); err != nil {
		return nil, err
	}
	keys, err := p.agent.Signers()
	for i, k := range keys {
		if s, ok := k.(ssh.AlgorithmSigner); ok {
			keys[i] = boundSigner{s, p}
		}
	}
	return keys, err
}

func (p *permit) dial() error {
	if p.conn != nil {
		return nil
	}
	conn, err := unixsock.Dial(p.socket)
	if err != nil {
		return err
	}
	p.conn, p.agent = conn, agent.NewClient(conn)
	return nil
}

// bind proves to the agent which host the connection leads to.
func (p *permit) bind() error {
	_, err := p.agent.Extension(extBind, p.proof(false))
	return err
}

// proof returns the content of a bind: the host, and whether requests come from its programs.
func (p *permit) proof(forwarding bool) []byte {
	return ssh.Marshal(struct {
		HostKey, Session, Signature []byte
		Forwarding                  bool
	}{p.hostKey.Marshal(), p.session, p.wire.signature(), forwarding})
}

// Messages of the agent's protocol that are written and read without a client: the client of
// x/crypto reads ahead in the background.
const (
	msgSuccess   = 6
	msgExtension = 27
)

// dialRemote connects to the agent for a program of the workspace. From the first message on, the
// agent knows that it is remote.
func (p *permit) dialRemote() (net.Conn, error) {
	p.mu.Lock()
	body := append(sshwire.AppendString([]byte{msgExtension}, extBind), p.proof(true)...)
	p.mu.Unlock()
	conn, err := unixsock.Dial(p.socket)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(answerTime))
	if _, err = conn.Write(sshwire.AppendString(nil, string(body))); err == nil {
		err = readSuccess(conn)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, nil
}

// readSuccess reads the agent's confirmation, and no byte more.
func readSuccess(r io.Reader) error {
	var answer [5]byte
	if _, err := io.ReadFull(r, answer[:]); err != nil {
		return err
	}
	if answer != [5]byte{3: 1, 4: msgSuccess} {
		return errors.New("the agent does not take the host's proof")
	}
	return nil
}

// boundSigner is a key of the agent for a login to the host.
type boundSigner struct {
	ssh.AlgorithmSigner
	permit *permit
}

// SignWithAlgorithm implements ssh.AlgorithmSigner. The data begins with the
// session's identifier (RFC 4252, section 7).
func (b boundSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	if err := b.permit.allowLogin(sshwire.NewReader(data).String(), b.PublicKey().Marshal()); err != nil {
		return nil, err
	}
	return b.AlgorithmSigner.SignWithAlgorithm(rand, data, algorithm)
}

func (p *permit) allowLogin(session, key []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.session == nil
	p.session, p.key = session, key
	if first {
		if err := p.bind(); err != nil {
			return fmt.Errorf("the agent does not take the host's proof: %w", err)
		}
	}
	return p.ask(p.self)
}

// allow asks the agent whether the process may have a session. It asks again if the agent was
// restarted.
func (p *permit) allow(pid int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := errors.New("there is no connection to the agent")
	if p.conn != nil {
		err = p.ask(pid)
	}
	var denied deniedError
	if err == nil || errors.As(err, &denied) {
		return err
	}
	p.hangUp()
	if err := p.dial(); err != nil {
		return err
	}
	if err := p.bind(); err != nil {
		return err
	}
	return p.ask(pid)
}

// errOtherAgent is the answer of every agent except keyway's. Without its decision about each
// session, no session is given.
var errOtherAgent = errors.New("the agent is not keyway's, and the mux needs keyway's to decide about each session")

// deniedError is the agent's reason.
type deniedError string

func (d deniedError) Error() string { return string(d) }

func (p *permit) ask(pid int) error {
	_ = p.conn.SetDeadline(time.Now().Add(answerTime))
	defer p.conn.SetDeadline(time.Time{})
	body := sshwire.AppendString(sshwire.AppendString(nil, p.key), p.user)
	answer, err := p.agent.Extension(extSession, sshwire.AppendUint32(body, uint32(pid)))
	if errors.Is(err, agent.ErrExtensionUnsupported) {
		return errOtherAgent
	}
	if err != nil {
		return err
	}
	r := sshwire.NewReader(answer)
	r.Byte()
	name, text := r.Text(), r.String()
	var d struct {
		Allowed bool   `json:"allowed"`
		Reason  string `json:"reason"`
	}
	if r.End() != nil || name != extSession || json.Unmarshal(text, &d) != nil {
		return errors.New("the agent's answer cannot be read")
	}
	if !d.Allowed {
		return deniedError(d.Reason)
	}
	return nil
}

func (p *permit) hangUp() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}

func (p *permit) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hangUp()
}
