package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/ssh"

	"keyway/internal/sshwire"
)

// Bounds on a private key.
const (
	maxInteger = 2049 // bytes of one integer: RSA of 16384 bits
	minRSABits = 1024 // as OpenSSH
)

var errHalves = errors.New("the two halves of the key do not fit")

// shape says which fields follow the type's name and a certificate, if there is
// one, in an ADD_IDENTITY message (RFC 9987 section 3.2). Integers and strings
// look alike on the wire.
type shape struct {
	plain  string // the type without certificate
	fields []field
}

type field int

const (
	public      field = iota // part of the public key: left out where a certificate holds it
	publicKept               // part of the public key: there even with a certificate
	private                  // only the holder knows it
	flagByte                 // one byte
	afterPublic              // string, neither secret nor part of the public key's fields
)

var (
	shapeRSA     = shape{ssh.KeyAlgoRSA, []field{public, public, private, private, private, private}} // n e d iqmp p q
	shapeEd25519 = shape{ssh.KeyAlgoED25519, []field{publicKept, private}}                            // pk sk
	// security keys: application flags handle reserved
	shapeSKEd25519 = shape{ssh.KeyAlgoSKED25519, []field{publicKept, afterPublic, flagByte, afterPublic, afterPublic}}
	shapeSKECDSA   = shape{ssh.KeyAlgoSKECDSA256, []field{public, public, afterPublic, flagByte, afterPublic, afterPublic}}
)

func shapeECDSA(name string) shape {
	return shape{name, []field{public, public, private}} // curve Q d
}

var shapes = map[string]shape{
	ssh.KeyAlgoRSA: shapeRSA, ssh.CertAlgoRSAv01: shapeRSA,
	ssh.KeyAlgoED25519: shapeEd25519, ssh.CertAlgoED25519v01: shapeEd25519,
	ssh.KeyAlgoECDSA256: shapeECDSA(ssh.KeyAlgoECDSA256), ssh.CertAlgoECDSA256v01: shapeECDSA(ssh.KeyAlgoECDSA256),
	ssh.KeyAlgoECDSA384: shapeECDSA(ssh.KeyAlgoECDSA384), ssh.CertAlgoECDSA384v01: shapeECDSA(ssh.KeyAlgoECDSA384),
	ssh.KeyAlgoECDSA521: shapeECDSA(ssh.KeyAlgoECDSA521), ssh.CertAlgoECDSA521v01: shapeECDSA(ssh.KeyAlgoECDSA521),
	ssh.KeyAlgoSKED25519: shapeSKEd25519, ssh.CertAlgoSKED25519v01: shapeSKEd25519,
	ssh.KeyAlgoSKECDSA256: shapeSKECDSA, ssh.CertAlgoSKECDSA256v01: shapeSKECDSA,
}

// parts is a private key as it arrived, cut into its fields. They are parts of
// the message.
type parts struct {
	raw    []byte // the complete key with its type name, as the helpers read it
	plain  string
	cert   *ssh.Certificate
	fields [][]byte
	flags  byte // of a security key
}

// split reads a private key from the front of r.
func split(r *sshwire.Reader) (parts, error) {
	whole := r.Rest()
	name := r.Text()
	s, ok := shapes[name]
	if !ok {
		return parts{}, fmt.Errorf("keys of the type %q are not supported", name)
	}
	p := parts{plain: s.plain}
	if name != s.plain {
		var err error
		if p.cert, err = parseCertificate(r.String()); err != nil {
			return parts{}, err
		}
	}
	for _, f := range s.fields {
		switch {
		case f == public && p.cert != nil:
		case f == flagByte:
			p.flags = r.Byte()
		default:
			p.fields = append(p.fields, r.String())
		}
	}
	if r.Err() != nil {
		return parts{}, r.Err()
	}
	p.raw = whole[:len(whole)-len(r.Rest())]
	return p, nil
}

func parseCertificate(blob []byte) (*ssh.Certificate, error) {
	key, err := ParsePublic(blob)
	if err != nil {
		return nil, err
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return nil, errors.New("a plain key where a certificate should be")
	}
	return cert, nil
}

// isSecurityKey reports whether the private half is on a security key.
func (p parts) isSecurityKey() bool {
	return p.plain == ssh.KeyAlgoSKED25519 || p.plain == ssh.KeyAlgoSKECDSA256
}

// application returns a security key's application. Its handle and a reserved string follow it in
// fields.
func (p parts) application() string { return string(p.fields[len(p.fields)-3]) }

// publicKey returns the public half, from the fields themselves.
func (p parts) publicKey() (ssh.PublicKey, error) {
	if p.isSecurityKey() {
		return p.securityKey()
	}
	signer, wipe, err := p.signer()
	if err != nil {
		return nil, err
	}
	defer wipe()
	if key, ok := signer.(ed25519.PrivateKey); ok && !key.Equal(ed25519.NewKeyFromSeed(key.Seed())) {
		return nil, errHalves
	}
	s, err := ssh.NewSignerFromKey(signer)
	if err != nil {
		return nil, err
	}
	return s.PublicKey(), nil
}

// securityKey assembles the public key of a security key, whose application is
// part of it.
func (p parts) securityKey() (ssh.PublicKey, error) {
	if p.cert != nil {
		return p.cert.Key, nil
	}
	blob := sshwire.AppendString(nil, p.plain)
	count := 2 // pk application
	if p.plain == ssh.KeyAlgoSKECDSA256 {
		count = 3 // curve Q application
	}
	for _, f := range p.fields[:count] {
		blob = sshwire.AppendString(blob, f)
	}
	return ssh.ParsePublicKey(blob)
}

// signer makes a key for Go's crypto packages. wipe overwrites its secret parts as far as that is
// possible.
func (p parts) signer() (key crypto.PrivateKey, wipe func(), err error) {
	switch p.plain {
	case ssh.KeyAlgoED25519:
		return p.ed25519()
	case ssh.KeyAlgoRSA:
		return p.rsa()
	}
	return p.ecdsa()
}

func (p parts) ed25519() (crypto.PrivateKey, func(), error) {
	pk, sk := p.fields[0], p.fields[1]
	if len(sk) != ed25519.PrivateKeySize || !bytes.Equal(pk, sk[ed25519.SeedSize:]) {
		return nil, nil, errHalves
	}
	key := ed25519.PrivateKey(bytes.Clone(sk))
	return key, func() { clear(key) }, nil
}

// integers reads mpints (RFC 4251 section 5); negative ones are no key's.
func integers(fields [][]byte) ([]*big.Int, error) {
	list := make([]*big.Int, len(fields))
	for i, f := range fields {
		if len(f) > maxInteger || len(f) > 0 && f[0]&0x80 != 0 {
			return nil, errors.New("an integer of the key is negative or too large")
		}
		list[i] = new(big.Int).SetBytes(f)
	}
	return list, nil
}

func wipeIntegers(list []*big.Int) {
	for _, n := range list {
		clear(n.Bits())
	}
}

func (p parts) rsa() (crypto.PrivateKey, func(), error) {
	secrets, err := integers(p.fields[len(p.fields)-4:]) // d iqmp p q
	if err != nil {
		return nil, nil, err
	}
	pub, err := p.rsaPublic()
	if err != nil {
		return nil, nil, err
	}
	key := &rsa.PrivateKey{PublicKey: *pub, D: secrets[0], Primes: []*big.Int{secrets[2], secrets[3]}}
	key.Precompute()
	if err := key.Validate(); err != nil {
		return nil, nil, err
	}
	return key, func() { wipeIntegers(secrets) }, nil
}

func (p parts) rsaPublic() (*rsa.PublicKey, error) {
	if p.cert != nil {
		if k, ok := p.cert.Key.(ssh.CryptoPublicKey); ok {
			if pub, ok := k.CryptoPublicKey().(*rsa.PublicKey); ok {
				return pub, nil
			}
		}
		return nil, errors.New("the certificate is for a key of another type")
	}
	list, err := integers(p.fields[:2]) // n e
	if err != nil {
		return nil, err
	}
	if list[0].BitLen() < minRSABits || !list[1].IsInt64() || list[1].Int64() > 1<<31-1 {
		return nil, fmt.Errorf("an RSA key needs %d bits or more and a usual exponent", minRSABits)
	}
	return &rsa.PublicKey{N: list[0], E: int(list[1].Int64())}, nil
}

var curves = map[string]elliptic.Curve{
	ssh.KeyAlgoECDSA256: elliptic.P256(), ssh.KeyAlgoECDSA384: elliptic.P384(), ssh.KeyAlgoECDSA521: elliptic.P521(),
}

func (p parts) ecdsa() (crypto.PrivateKey, func(), error) {
	curve := curves[p.plain]
	if p.cert == nil && string(p.fields[0]) != p.plain[len("ecdsa-sha2-"):] {
		return nil, nil, errors.New("the curve of the ECDSA key is not that of its type")
	}
	d := bytes.TrimLeft(p.fields[len(p.fields)-1], "\x00")
	size := (curve.Params().BitSize + 7) / 8
	if len(d) > size {
		return nil, nil, errors.New("the ECDSA key is too large for its curve")
	}
	padded := make([]byte, size)
	copy(padded[size-len(d):], d)
	defer clear(padded)
	key, err := ecdsa.ParseRawPrivateKey(curve, padded)
	if err != nil {
		return nil, nil, err
	}
	if p.cert == nil {
		if err := sameECDSA(key, p.fields[1]); err != nil {
			return nil, nil, err
		}
	}
	return key, func() { clear(key.D.Bits()) }, nil //nolint:staticcheck // nothing else gives the words to wipe
}

func sameECDSA(key *ecdsa.PrivateKey, point []byte) error {
	mine, err := key.PublicKey.Bytes()
	if err != nil {
		return err
	}
	if !bytes.Equal(mine, point) {
		return errHalves
	}
	return nil
}
