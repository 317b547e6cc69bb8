package identity

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"keyway/internal/sshwire"
)

// OpenSSH's ssh-sk-helper signs with a security key. It takes one request and
// ends. Its protocol has had the version 5 from OpenSSH 8.4 to 10.
const (
	skHelperVersion = 5
	skHelperSign    = 1

	skUserPresence = 1 // flag of a key: it has to be touched

	syslogError = 2 // how much the helper says
)

// securityKey signs by a helper. Its secret is the handle, which signs nothing without
// the device.
type securityKey struct {
	secret   *secret
	provider string
}

func (s *securityKey) destroy() { s.secret.destroy() }

func (s *securityKey) sign(ctx context.Context, data []byte, _ uint32) (sig *ssh.Signature, err error) {
	if s.provider == "" {
		return nil, errors.New("no provider was named for this security key")
	}
	path, err := findHelper("ssh-sk-helper", "SSH_SK_HELPER")
	if err != nil {
		return nil, err
	}
	h, err := startHelper(path)
	if err != nil {
		return nil, err
	}
	defer h.close()
	err = s.secret.use(func(raw []byte) error {
		request := s.request(raw, data)
		defer clear(request)
		answer, err := h.exchange(ctx, request)
		if err != nil {
			return err
		}
		sig, err = parseSecurityKeyAnswer(answer)
		return err
	})
	return sig, err
}

// request returns the request to sign data without a PIN. An empty algorithm means the key's own.
func (s *securityKey) request(raw, data []byte) []byte {
	b := []byte{skHelperVersion}
	b = sshwire.AppendUint32(b, skHelperSign)
	b = append(b, 1) // it logs to its standard error
	b = sshwire.AppendUint32(b, syslogError)
	b = sshwire.AppendString(b, raw)
	b = sshwire.AppendString(b, s.provider)
	b = sshwire.AppendString(b, data)
	b = sshwire.AppendString(b, "")
	b = sshwire.AppendUint32(b, 0) // compatibility flags
	return sshwire.AppendString(b, "")
}

func parseSecurityKeyAnswer(answer []byte) (*ssh.Signature, error) {
	r := sshwire.NewReader(answer)
	version, kind := r.Byte(), r.Uint32()
	if r.Err() != nil || version != skHelperVersion {
		return nil, fmt.Errorf("ssh-sk-helper speaks another protocol (version %d)", version)
	}
	if kind != skHelperSign {
		return nil, fmt.Errorf("ssh-sk-helper could not sign (error %d)", r.Uint32())
	}
	blob := r.String()
	if err := r.End(); err != nil {
		return nil, err
	}
	return ParseSignature(blob)
}

// applicationOf reads the application out of a security key's public half, which
// ends with it (OpenSSH's PROTOCOL.u2f).
func applicationOf(pub ssh.PublicKey) string {
	if cert, ok := pub.(*ssh.Certificate); ok {
		pub = cert.Key
	}
	application := ""
	for r := sshwire.NewReader(pub.Marshal()); r.More(); {
		application = r.Text()
	}
	return application
}

// ParseSignature reads a signature in the form of RFC 4253 section 6.6, and what
// security keys add to it.
func ParseSignature(blob []byte) (*ssh.Signature, error) {
	r := sshwire.NewReader(blob)
	sig := &ssh.Signature{Format: r.Text(), Blob: r.String()}
	if r.Err() != nil {
		return nil, r.Err()
	}
	sig.Rest = r.Rest()
	return sig, nil
}
