package agent

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"keyway/internal/identity"
	"keyway/internal/sshwire"
)

// bind is a host that has proven itself on a connection: its key signed the
// identifier of a session that leads to it.
type bind struct {
	key        ssh.PublicKey
	blob       []byte
	session    []byte
	forwarding bool   // the session forwards the agent, and others ask through it
	message    []byte // as it came
}

// parseBind reads and verifies a session-bind@openssh.com message: host key,
// session identifier, signature, is_forwarding.
func parseBind(r *sshwire.Reader) (bind, error) {
	message := bytes.Clone(r.Rest())
	blob, session, sigBlob, forwarding := r.String(), r.String(), r.String(), r.Byte()
	if err := r.End(); err != nil {
		return bind{}, fmt.Errorf("a bind that cannot be read: %w", err)
	}
	if len(session) == 0 || len(session) > maxSessionID {
		return bind{}, errors.New("a bind with a session identifier of a wrong length")
	}
	key, err := identity.ParsePublic(blob)
	if err != nil {
		return bind{}, fmt.Errorf("a bind with a host key that cannot be read: %w", err)
	}
	if err := verify(key, session, sigBlob); err != nil {
		return bind{}, fmt.Errorf("a bind whose signature does not verify with %s: %w", identity.Fingerprint(key), err)
	}
	return bind{key: key, blob: key.Marshal(), session: bytes.Clone(session), forwarding: forwarding != 0, message: message}, nil
}

// verify checks a host's signature. SHA-1 proves nothing any more, although
// OpenSSH's agent takes it here.
func verify(key ssh.PublicKey, session, sigBlob []byte) error {
	sr := sshwire.NewReader(sigBlob)
	sig := &ssh.Signature{Format: sr.Text(), Blob: sr.String(), Rest: sr.Rest()}
	if sr.Err() != nil {
		return sr.Err()
	}
	if sig.Format == ssh.KeyAlgoRSA {
		return errors.New("it is made with SHA-1")
	}
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	return key.Verify(session, sig)
}

// addBind returns binds with b added, or an error that says why b contradicts them. Adding a bind
// again changes nothing.
func addBind(binds []bind, b bind) ([]bind, error) {
	// Also the same bind as an earlier one: after a login nothing can follow.
	if n := len(binds); n > 0 && !binds[n-1].forwarding {
		return nil, errors.New("a bind after one that was for a login")
	}
	for _, old := range binds {
		sameSession, sameKey := bytes.Equal(old.session, b.session), bytes.Equal(old.blob, b.blob)
		switch {
		case sameSession && !sameKey:
			return nil, errors.New("a bind of a session to a second host")
		case sameSession && old.forwarding != b.forwarding:
			return nil, errors.New("a bind of a session to a second purpose")
		case sameSession:
			return binds, nil
		}
	}
	if len(binds) >= maxBinds {
		return nil, fmt.Errorf("more than %d binds", maxBinds)
	}
	return append(binds, b), nil
}
