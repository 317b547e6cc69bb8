package stream

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
)

// Labels separate the purposes of signatures and MACs.
const (
	labelOpened  = "keyway stream 1: opened\x00"
	labelRefused = "keyway stream 1: refused\x00"
	labelResume  = "keyway stream 1: resume\x00"
	labelResumed = "keyway stream 1: resumed\x00"
	labelCommit  = "keyway stream 1: commit\x00"
	labelConfirm = "keyway stream 1: confirm\x00"
	labelKey     = "keyway stream 1: "
)

// keys are the secrets that the two ends of a stream share.
type keys struct {
	id     [idLen]byte
	client [keyLen]byte // authenticates the client
	server [keyLen]byte // authenticates the server
}

// newEphemeral makes the key pair for one open.
func newEphemeral() (*ecdh.PrivateKey, error) { return ecdh.X25519().GenerateKey(rand.Reader) }

// deriveKeys derives the keys of the stream from hello and answer.
func deriveKeys(own *ecdh.PrivateKey, peer [keyLen]byte, hello *openHello, answer *opened) (*keys, error) {
	public, err := ecdh.X25519().NewPublicKey(peer[:])
	if err != nil {
		return nil, err
	}
	secret, err := own.ECDH(public)
	if err != nil {
		return nil, violation("key exchange: %v", err)
	}
	salt := digest(hello.encode(), answer.signed())
	var k keys
	for name, to := range map[string][]byte{"id": k.id[:], "client": k.client[:], "server": k.server[:]} {
		b, err := hkdf.Key(sha256.New, secret, salt, labelKey+name, len(to))
		if err != nil {
			return nil, err
		}
		copy(to, b)
	}
	return &k, nil
}

func digest(parts ...[]byte) []byte {
	h := sha256.New()
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}

// mac authenticates parts, whose lengths the label determines.
func mac(key [keyLen]byte, label string, parts ...[]byte) (sum [macLen]byte) {
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte(label))
	for _, part := range parts {
		h.Write(part)
	}
	h.Sum(sum[:0])
	return sum
}

func sameMAC(a, b [macLen]byte) bool { return hmac.Equal(a[:], b[:]) }

// signHello signs an answer to a hello with the host key.
func signHello(key crypto.Signer, label string, hello, answer []byte) (sum [sigLen]byte, err error) {
	sig, err := key.Sign(rand.Reader, append([]byte(label), digest(hello, answer)...), crypto.Hash(0))
	if err == nil && len(sig) != sigLen {
		err = fmt.Errorf("a signature of %d bytes", len(sig))
	}
	copy(sum[:], sig)
	return sum, err
}

func verifyHello(key ed25519.PublicKey, label string, hello, answer []byte, sig [sigLen]byte) bool {
	return ed25519.Verify(key, append([]byte(label), digest(hello, answer)...), sig[:])
}

func (k *keys) resumeMAC(h *resumeHello) [macLen]byte {
	return mac(k.client, labelResume, h.covered())
}

func (k *keys) resumedMAC(h *resumeHello, a *resumed) [macLen]byte {
	return mac(k.server, labelResumed, h.encode(), a.covered())
}

func (k *keys) commitMAC(h *resumeHello, a *resumed, c *commit) [macLen]byte {
	return mac(k.client, labelCommit, h.encode(), a.encode(), c.covered())
}

func (k *keys) confirmMAC() [macLen]byte { return mac(k.client, labelConfirm, k.id[:]) }
