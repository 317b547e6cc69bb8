package stream

import (
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net"
)

// Prove returns nil if the server at the other end of conn holds key: it has signed the answer to a
// new hello. Prove returns ErrHostKey if another server has answered. The stream that Prove opens
// is never confirmed, and the server soon forgets it. The caller closes conn.
func Prove(ctx context.Context, conn net.Conn, key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize {
		return ErrHostKey
	}
	defer guard(ctx, conn)()
	_, hello, err := newHello()
	if err == nil {
		_, err = conn.Write(hello.encode())
	}
	if err == nil {
		_, err = readAnswer(conn, hello, key)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// newHello makes the hello of a new stream, and its half of the key exchange.
func newHello() (*ecdh.PrivateKey, *openHello, error) {
	own, err := newEphemeral()
	if err != nil {
		return nil, nil, err
	}
	hello := &openHello{public: [keyLen]byte(own.PublicKey().Bytes())}
	rand.Read(hello.nonce[:])
	return own, hello, nil
}

// readAnswer reads the answer to hello. It returns an error unless key has signed the answer.
func readAnswer(r io.Reader, hello *openHello, key ed25519.PublicKey) (*opened, error) {
	kind, err := readKind(r)
	if err != nil {
		return nil, err
	}
	switch kind {
	case kindOpened:
	case kindRefused:
		return nil, readRefusal(r, hello.encode(), key, true)
	default:
		return nil, violation("answer of kind %d to open", kind)
	}
	answer, err := readOpened(r)
	if err != nil {
		return nil, err
	}
	if !verifyHello(key, labelOpened, hello.encode(), answer.signed(), answer.signature) {
		return nil, ErrHostKey
	}
	return answer, nil
}
