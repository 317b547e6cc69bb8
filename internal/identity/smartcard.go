package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"sync"

	"golang.org/x/crypto/ssh"

	"keyway/internal/sshwire"
)

// Messages of ssh-pkcs11-helper: those of the agent protocol, with other
// contents. Signatures are the bare ones of PKCS #1 and of X9.62.
const (
	p11Identities   = 12
	p11Sign         = 13
	p11Signed       = 14
	p11Add          = 20
	maxKeysOnACard  = 256
	maxCardComments = 4096 // bytes
)

// Card is a PKCS#11 provider. A helper program of its own uses the provider's library, so that a
// fault of the library does not harm this process.
type Card struct {
	provider string
	helper   *helper
	once     sync.Once
}

// OpenCard loads the provider's library into a helper and returns the keys that it holds. The card
// must be closed when none of its keys is used any more.
func OpenCard(ctx context.Context, provider string, pin []byte) (*Card, []*Key, error) {
	path, err := findHelper("ssh-pkcs11-helper", "SSH_PKCS11_HELPER")
	if err != nil {
		return nil, nil, err
	}
	h, err := startHelper(path)
	if err != nil {
		return nil, nil, err
	}
	c := &Card{provider: provider, helper: h}
	request := sshwire.AppendString(sshwire.AppendString([]byte{p11Add}, provider), pin)
	defer clear(request)
	answer, err := h.exchange(ctx, request)
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	keys, err := c.parseKeys(answer)
	if err == nil && len(keys) == 0 {
		err = errors.New("the provider gives no keys: a wrong PIN, or an empty card")
	}
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return c, keys, nil
}

// Close ends the helper.
func (c *Card) Close() { c.once.Do(c.helper.close) }

func (c *Card) parseKeys(answer []byte) ([]*Key, error) {
	r := sshwire.NewReader(answer)
	if kind := r.Byte(); kind != p11Identities {
		return nil, fmt.Errorf("ssh-pkcs11-helper could not load %s", c.provider)
	}
	n := r.Uint32()
	if n > maxKeysOnACard {
		return nil, fmt.Errorf("the card has %d keys, more than %d", n, maxKeysOnACard)
	}
	var keys []*Key
	for range n {
		blob, comment := r.String(), r.Text()
		if r.Err() != nil || len(comment) > maxCardComments {
			return nil, errors.New("ssh-pkcs11-helper gives keys that cannot be read")
		}
		pub, err := ssh.ParsePublicKey(blob)
		if err != nil {
			continue // of a type that we cannot use
		}
		k := newKey(pub)
		k.Comment, k.Provider = comment, c.provider
		if comment == "" {
			k.Comment = c.provider
		}
		k.signer = &onCard{card: c, public: pub, blob: blob}
		keys = append(keys, k)
	}
	return keys, r.End()
}

// onCard signs with one key of a card. Destroying it leaves the card to its other
// keys.
type onCard struct {
	card   *Card
	public ssh.PublicKey
	blob   []byte
}

func (k *onCard) destroy() {}

func (k *onCard) sign(ctx context.Context, data []byte, flags uint32) (*ssh.Signature, error) {
	signer, err := ssh.NewSignerFromSigner(&cardSigner{k, ctx})
	if err != nil {
		return nil, err
	}
	return signer.(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, data, algorithm(k.public.Type(), flags))
}

// cardSigner is onCard as Go's crypto.Signer, for one signature.
type cardSigner struct {
	key *onCard
	ctx context.Context
}

func (s *cardSigner) Public() crypto.PublicKey {
	return s.key.public.(ssh.CryptoPublicKey).CryptoPublicKey()
}

// Sign has the helper sign a hash and verifies the signature, because the library behind the
// helper is not trusted.
func (s *cardSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	switch pub := s.Public().(type) {
	case *rsa.PublicKey:
		info, err := digestInfo(digest, opts.HashFunc())
		if err != nil {
			return nil, err
		}
		sig, err := s.ask(info)
		if err != nil {
			return nil, err
		}
		return sig, rsa.VerifyPKCS1v15(pub, opts.HashFunc(), digest, sig)
	case *ecdsa.PublicKey:
		sig, err := s.ask(digest)
		if err != nil {
			return nil, err
		}
		if sig, err = asDER(sig); err != nil {
			return nil, err
		}
		if !ecdsa.VerifyASN1(pub, digest, sig) {
			return nil, errors.New("the card's signature does not verify")
		}
		return sig, nil
	}
	return nil, fmt.Errorf("a card's %s key cannot be used", s.key.public.Type())
}

func (s *cardSigner) ask(data []byte) ([]byte, error) {
	request := sshwire.AppendString(sshwire.AppendString([]byte{p11Sign}, s.key.blob), data)
	answer, err := s.key.card.helper.exchange(s.ctx, sshwire.AppendUint32(request, 0))
	if err != nil {
		return nil, err
	}
	r := sshwire.NewReader(answer)
	kind, sig := r.Byte(), r.String()
	if kind != p11Signed || r.End() != nil {
		return nil, errors.New("the card did not sign")
	}
	return sig, nil
}

// asDER takes the DER form and checks that it is one.
func asDER(sig []byte) ([]byte, error) {
	var pair struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(sig, &pair); err != nil || len(rest) != 0 {
		return nil, errors.New("the card's signature cannot be read")
	}
	return sig, nil
}

var hashOID = map[crypto.Hash]asn1.ObjectIdentifier{
	crypto.SHA1:   {1, 3, 14, 3, 2, 26},
	crypto.SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1},
	crypto.SHA512: {2, 16, 840, 1, 101, 3, 4, 2, 3},
}

// digestInfo returns the bytes that PKCS #1 v1.5 pads and signs (RFC 8017 section 9.2).
func digestInfo(digest []byte, hash crypto.Hash) ([]byte, error) {
	oid, ok := hashOID[hash]
	if !ok {
		return nil, fmt.Errorf("a card cannot sign with %v", hash)
	}
	var info struct {
		Algorithm struct {
			OID  asn1.ObjectIdentifier
			Null asn1.RawValue
		}
		Digest []byte
	}
	info.Algorithm.OID, info.Algorithm.Null, info.Digest = oid, asn1.NullRawValue, digest
	return asn1.Marshal(info)
}
