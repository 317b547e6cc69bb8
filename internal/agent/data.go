package agent

import (
	"bytes"

	"keyway/internal/identity"
	"keyway/internal/policy"
	"keyway/internal/sshwire"
)

const (
	userauthRequest = 50 // SSH_MSG_USERAUTH_REQUEST, RFC 4252 section 6
	methodPublicKey = "publickey"
	methodHostbound = "publickey-hostbound-v00@openssh.com"
	sshsigMagic     = "SSHSIG"
)

// content is the parsed data to be signed.
type content struct {
	purpose   policy.Purpose
	user      string
	session   []byte // a login's session identifier
	key       []byte // the key that a login names
	hostKey   []byte // the host key that a login names; nil if it names none
	namespace string // of an SSHSIG
}

// parseContent reads data that is to be signed. Data that is not exactly a login or
// an SSHSIG is of an unknown kind.
func parseContent(data []byte) content {
	if c, ok := parseLogin(data); ok {
		return c
	}
	if c, ok := parseSSHSIG(data); ok {
		return c
	}
	return content{purpose: policy.Data}
}

// parseLogin reads what RFC 4252 section 7 has a client sign, in the form without
// and with the host key.
func parseLogin(data []byte) (content, bool) {
	r := sshwire.NewReader(data)
	session, kind := r.String(), r.Byte()
	user, service, method := r.Text(), r.Text(), r.Text()
	hasSignature, algorithm, key := r.Byte(), r.Text(), r.String()
	c := content{purpose: policy.Login, user: user, session: session}
	if method == methodHostbound {
		c.hostKey = canonical(r.String())
		if c.hostKey == nil {
			return content{}, false
		}
	}
	c.key = canonical(key)
	ok := r.End() == nil && len(session) > 0 && kind == userauthRequest && service == "ssh-connection" &&
		(method == methodPublicKey || method == methodHostbound) && hasSignature == 1 &&
		algorithm != "" && c.key != nil
	return c, ok
}

// canonical returns a public key in the encoding that this package writes, or nil.
func canonical(blob []byte) []byte {
	key, err := identity.ParsePublic(blob)
	if err != nil {
		return nil
	}
	return key.Marshal()
}

// parseSSHSIG reads what OpenSSH's PROTOCOL.sshsig has signed: the magic, and as
// strings namespace, reserved, hash algorithm and hash.
func parseSSHSIG(data []byte) (content, bool) {
	rest, ok := bytes.CutPrefix(data, []byte(sshsigMagic))
	if !ok {
		return content{}, false
	}
	r := sshwire.NewReader(rest)
	namespace := r.Text()
	r.String()
	r.String()
	r.String()
	if r.End() != nil || namespace == "" {
		return content{}, false
	}
	return content{purpose: policy.Signature, namespace: namespace}, true
}
