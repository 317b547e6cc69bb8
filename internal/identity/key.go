package identity

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/sshwire"
)

// Signature flags of RFC 9987 section 3.6.1.
const (
	FlagSHA256 = 2
	FlagSHA512 = 4
)

// Key is a public key with something that can sign for it.
type Key struct {
	Public      ssh.PublicKey
	Blob        []byte // Public on the wire
	Fingerprint string // SHA256:…, of the plain key also for a certificate
	Comment     string
	Provider    string // the library behind it, if there is one
	Touch       bool   // a security key that has to be touched
	Application string // of a security key: "ssh:…", or a web origin

	signer signer
}

// signer makes signatures. Sign may be called by several at once; destroy ends
// them and all later ones.
type signer interface {
	sign(ctx context.Context, data []byte, flags uint32) (*ssh.Signature, error)
	destroy()
}

// ReadPrivate reads a private key from the front of an ADD_IDENTITY message. The
// bytes in r are the caller's to clear. A key that is not used must be destroyed.
func ReadPrivate(r *sshwire.Reader) (*Key, error) {
	p, err := split(r)
	if err != nil {
		return nil, err
	}
	pub, err := p.publicKey()
	if err != nil {
		return nil, err
	}
	if p.cert != nil {
		if !bytes.Equal(p.cert.Key.Marshal(), pub.Marshal()) {
			return nil, errors.New("the certificate is for another key")
		}
		pub = p.cert
	}
	s, err := newSecret(p.raw)
	if err != nil {
		return nil, err
	}
	k := newKey(pub)
	if p.isSecurityKey() {
		k.signer, k.Touch, k.Application = &securityKey{secret: s}, p.flags&skUserPresence != 0, p.application()
	} else {
		k.signer = &software{secret: s}
	}
	return k, nil
}

// Foreign returns a key that another agent holds and signs with.
func Foreign(blob []byte, comment string) (*Key, error) {
	pub, err := ParsePublic(blob)
	if err != nil {
		return nil, err
	}
	k := newKey(pub)
	k.Comment, k.signer = comment, elsewhere{}
	if k.OnSecurityKey() {
		k.Application = applicationOf(pub)
	}
	return k, nil
}

// elsewhere is the private half that another agent keeps.
type elsewhere struct{}

func (elsewhere) sign(context.Context, []byte, uint32) (*ssh.Signature, error) {
	return nil, errors.New("the private key is with another agent")
}

func (elsewhere) destroy() {}

func newKey(pub ssh.PublicKey) *Key {
	return &Key{Public: pub, Blob: pub.Marshal(), Fingerprint: Fingerprint(pub)}
}

// ParsePublic parses a public key or certificate. Unlike ssh.ParsePublicKey's, its
// result does not share memory with blob: requests are overwritten once they are
// answered.
func ParsePublic(blob []byte) (ssh.PublicKey, error) { return ssh.ParsePublicKey(bytes.Clone(blob)) }

// Fingerprint returns the SHA-256 fingerprint of a key, and of the plain key in
// a certificate.
func Fingerprint(k ssh.PublicKey) string {
	if cert, ok := k.(*ssh.Certificate); ok {
		k = cert.Key
	}
	return ssh.FingerprintSHA256(k)
}

// SetProvider names the library that a security key is used through.
func (k *Key) SetProvider(path string) error {
	sk, ok := k.signer.(*securityKey)
	if !ok {
		return fmt.Errorf("a %s key is not on a security key and takes no provider", k.Public.Type())
	}
	k.Provider, sk.provider = path, path
	return nil
}

// OnSecurityKey reports whether the private half is on a security key.
func (k *Key) OnSecurityKey() bool { return strings.HasPrefix(k.Public.Type(), "sk-") }

// WithCertificate returns k presenting cert. Both sign by the same means, and both are destroyed
// when k is.
func (k *Key) WithCertificate(cert *ssh.Certificate) (*Key, error) {
	if Fingerprint(cert) != k.Fingerprint {
		return nil, errors.New("the certificate is for another key")
	}
	c := newKey(cert)
	c.Comment, c.Provider, c.Touch, c.Application, c.signer = k.Comment, k.Provider, k.Touch, k.Application, k.signer
	return c, nil
}

// Copy returns k presenting cert. The secret is held twice from then on, and each copy must be
// destroyed. Keys of a card share the card.
func (k *Key) Copy(cert *ssh.Certificate) (*Key, error) {
	c, err := k.WithCertificate(cert)
	if err != nil {
		return nil, err
	}
	errCopy := k.Export(func(raw []byte) {
		var s *secret
		if s, err = newSecret(raw); err != nil {
			return
		}
		if sk, ok := k.signer.(*securityKey); ok {
			c.signer = &securityKey{secret: s, provider: sk.provider}
		} else {
			c.signer = &software{secret: s}
		}
	})
	if errors.Is(errCopy, errNotHere) {
		errCopy = nil
	}
	return c, errors.Join(err, errCopy)
}

// Certificate returns the certificate that the key presents, or nil.
func (k *Key) Certificate() *ssh.Certificate {
	cert, _ := k.Public.(*ssh.Certificate)
	return cert
}

// Expired reports whether the key is a certificate that no server takes any more.
func (k *Key) Expired(now time.Time) bool {
	cert := k.Certificate()
	return cert != nil && cert.ValidBefore != ssh.CertTimeInfinity && uint64(now.Unix()) >= cert.ValidBefore
}

// Sign signs data. ctx ends a signature that waits for a touch.
func (k *Key) Sign(ctx context.Context, data []byte, flags uint32) (*ssh.Signature, error) {
	return k.signer.sign(ctx, data, flags)
}

// errNotHere means that a card or another agent has the private key.
var errNotHere = errors.New("the private key is not here")

// Export passes the private key to take, in the form that ReadPrivate reads. The bytes are valid
// only until take returns. A key that is not held here cannot be exported.
func (k *Key) Export(take func(raw []byte)) error {
	var s *secret
	switch by := k.signer.(type) {
	case *software:
		s = by.secret
	case *securityKey:
		s = by.secret
	default:
		return errNotHere
	}
	return s.use(func(raw []byte) error { take(raw); return nil })
}

// Destroy overwrites the private key. Signatures that are being made are waited
// for.
func (k *Key) Destroy() { k.signer.destroy() }

// algorithm returns the signature algorithm of an RSA key: SHA-1 unless a flag selects another
// (RFC 9987, section 3.6.1). Other types have one algorithm.
func algorithm(plain string, flags uint32) string {
	switch {
	case plain != ssh.KeyAlgoRSA:
		return plain
	case flags&FlagSHA256 != 0:
		return ssh.KeyAlgoRSASHA256
	case flags&FlagSHA512 != 0:
		return ssh.KeyAlgoRSASHA512
	}
	return ssh.KeyAlgoRSA
}

// software signs in this process.
type software struct{ secret *secret }

func (s *software) destroy() { s.secret.destroy() }

func (s *software) sign(_ context.Context, data []byte, flags uint32) (sig *ssh.Signature, err error) {
	err = s.secret.use(func(raw []byte) error {
		p, err := split(sshwire.NewReader(raw))
		if err != nil {
			return err
		}
		key, wipe, err := p.signer()
		if err != nil {
			return err
		}
		defer wipe()
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			return err
		}
		sig, err = signer.(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, data, algorithm(p.plain, flags))
		return err
	})
	return sig, err
}
