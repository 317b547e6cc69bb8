//go:build linux

package agent

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/sshwire"
	"keyway/internal/unixsock"
)

// Message numbers of RFC 9987 and of OpenSSH.
const (
	agentFailure   = 5
	agentSuccess   = 6
	agentList      = 11
	agentSign      = 13
	agentSignature = 14
	agentExtension = 27
	sessionBind    = "session-bind@openssh.com"
)

// patience bounds the time of an answer.
const patience = time.Minute

// asker speaks to an agent in raw messages.
type asker struct{ net.Conn }

// dial connects to the forwarded agent, on the hop.
func (s *session) dial(t *testing.T) asker {
	t.Helper()
	conn, err := unixsock.Dial(s.hop.host.Path(s.socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return asker{conn}
}

// dialAnswered is dial with retries: a workspace accepts a limited number of connections, and
// notices the end of earlier ones a moment later.
func (s *session) dialAnswered(t *testing.T) asker {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		if a := s.dial(t); a.ask([]byte{agentList}) != nil {
			return a
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("the forwarded agent does not answer")
		}
	}
}

// ask returns the answer, or nil if the agent closed the connection.
func (a asker) ask(message []byte) []byte {
	a.SetDeadline(time.Now().Add(patience))
	if _, err := a.Write(sshwire.AppendString(nil, message)); err != nil {
		return nil
	}
	var header [4]byte
	if _, err := io.ReadFull(a, header[:]); err != nil {
		return nil
	}
	answer := make([]byte, binary.BigEndian.Uint32(header[:]))
	if _, err := io.ReadFull(a, answer); err != nil {
		return nil
	}
	return answer
}

// sign asks for a signature with the user's key.
func (a asker) sign(key, data []byte) (*ssh.Signature, error) {
	message := sshwire.AppendString(sshwire.AppendString([]byte{agentSign}, key), data)
	r := sshwire.NewReader(a.ask(sshwire.AppendUint32(message, 0)))
	if kind, blob := r.Byte(), r.String(); r.Err() == nil && kind == agentSignature {
		sig := new(ssh.Signature)
		return sig, ssh.Unmarshal(blob, sig)
	}
	return nil, errors.New("refused")
}

// exchanged is a server's proof in a key exchange.
type exchanged struct{ hostKey, session, signature []byte }

// bind sends the proof to the agent.
func (a asker) bind(e exchanged, forwarding bool) bool {
	answer := a.ask(e.message(forwarding))
	return len(answer) == 1 && answer[0] == agentSuccess
}

func (e exchanged) message(forwarding bool) []byte {
	m := sshwire.AppendString([]byte{agentExtension}, sessionBind)
	for _, part := range [][]byte{e.hostKey, e.session, e.signature} {
		m = sshwire.AppendString(m, part)
	}
	if forwarding {
		return append(m, 1)
	}
	return append(m, 0)
}

// key returns the user's public key.
func (w *world) key() []byte { return must(ssh.ParseAuthorizedKey([]byte(w.mine))).Marshal() }

// host returns the host key of that name.
func (w *world) host(name string) []byte {
	return must(ssh.ParseAuthorizedKey([]byte(w.hostKey[name]))).Marshal()
}

func (w *world) fingerprint(name string) string {
	return ssh.FingerprintSHA256(must(ssh.ParseAuthorizedKey([]byte(w.hostKey[name]))))
}

func must(key ssh.PublicKey, _ string, _ []string, _ []byte, err error) ssh.PublicKey {
	if err != nil {
		panic(err)
	}
	return key
}

// login logs in to a host as the user, and has sign make the signature for it.
func (s *session) login(t *testing.T, name string, sign func(e exchanged, data []byte) (*ssh.Signature, error)) bool {
	t.Helper()
	conn := s.connect(t, name)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	heard := &recorder{Conn: conn}
	key := must(ssh.ParseAuthorizedKey([]byte(s.w.mine)))
	config := &ssh.ClientConfig{
		User: "root", HostKeyCallback: ssh.FixedHostKey(must(ssh.ParseAuthorizedKey([]byte(s.w.hostKey[name])))),
		Auth: []ssh.AuthMethod{ssh.PublicKeys(signer{key, func(data []byte) (*ssh.Signature, error) {
			e, err := heard.exchanged(data)
			if err != nil {
				t.Error(err)
				return nil, err
			}
			return sign(e, data)
		}})},
	}
	client, channels, requests, err := ssh.NewClientConn(heard, name, config)
	if err != nil {
		return false
	}
	go ssh.DiscardRequests(requests) // these end with the connection
	go func() {
		for c := range channels {
			c.Reject(ssh.Prohibited, "")
		}
	}()
	client.Close()
	return true
}

// prove obtains a host's proof for a session, and ends the session.
func (s *session) prove(t *testing.T, name string) exchanged {
	t.Helper()
	var got exchanged
	s.login(t, name, func(e exchanged, _ []byte) (*ssh.Signature, error) {
		got = e
		return nil, errors.New("enough")
	})
	if got.session == nil {
		t.Fatalf("%s does not offer to take the user's key", name)
	}
	return got
}

// connect connects to a host from the attackers' machine.
func (s *session) connect(t *testing.T, name string) net.Conn {
	t.Helper()
	var conn net.Conn
	var err error
	switch name {
	case train, second:
		conn, err = unixsock.Dial(s.w.GPU.Path(s.w.socket[name]))
	case "bastion":
		conn, err = s.hop.host.Dial(context.Background(), s.w.Bastion.Address+":22")
	case "gpu1":
		conn, err = s.hop.host.Dial(context.Background(), s.w.GPU.Address+":22")
	default:
		conn, err = s.hop.host.Dial(context.Background(), s.w.GPU.Address+":"+dbPort)
	}
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// signer is a key whose signatures are made elsewhere.
type signer struct {
	public ssh.PublicKey
	sign   func(data []byte) (*ssh.Signature, error)
}

func (s signer) PublicKey() ssh.PublicKey { return s.public }

func (s signer) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) { return s.sign(data) }

// recorder records a server's plain-text messages, up to its proof.
type recorder struct {
	net.Conn
	heard bytes.Buffer
}

const maxClear = 64 << 10

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	if r.heard.Len() < maxClear {
		r.heard.Write(p[:n])
	}
	return n, err
}

// exchanged finds the server's proof: the first and the last string of its answer
// in the key exchange (RFC 5656 section 4), and the session's identifier, with
// which the data to be signed begins (RFC 4252 section 7).
func (r *recorder) exchanged(data []byte) (exchanged, error) {
	const exchangeReply = 31
	_, packets, _ := bytes.Cut(r.heard.Bytes(), []byte("\n"))
	for len(packets) > 5 {
		n := int(binary.BigEndian.Uint32(packets))
		if n > len(packets)-4 {
			break
		}
		packet := packets[4 : 4+n]
		packets = packets[4+n:]
		if packet[1] != exchangeReply {
			continue
		}
		reply := sshwire.NewReader(packet[2:])
		hostKey, _, signature := reply.String(), reply.String(), reply.String()
		return exchanged{bytes.Clone(hostKey), bytes.Clone(sshwire.NewReader(data).String()), bytes.Clone(signature)}, reply.Err()
	}
	return exchanged{}, fmt.Errorf("no proof in %d bytes", r.heard.Len())
}

// withBind returns the forwarded agent with a bind made on every connection
// before anything else: a socket on the hop, for stock ssh.
func (s *session) withBind(t *testing.T, e exchanged, forwarding bool) (socket string) {
	t.Helper()
	socket = fmt.Sprintf("%s/bound-%x", s.dir, e.session[:4])
	l, err := unixsock.Listen(s.hop.host.Path(socket), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.relayBound(conn, e, forwarding) })
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return socket
}

func (s *session) relayBound(conn net.Conn, e exchanged, forwarding bool) {
	defer conn.Close()
	agent, err := unixsock.Dial(s.hop.host.Path(s.socket))
	if err != nil {
		return
	}
	defer agent.Close()
	asker{agent}.bind(e, forwarding)
	agent.SetDeadline(time.Time{})
	go func() {
		io.Copy(agent, conn)
		agent.Close()
	}()
	io.Copy(conn, agent)
}
