package stream

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
)

// answerer acts as the other end: it reads a hello and answers.
func answerer(t *testing.T, answer func(hello []byte) []byte) net.Conn {
	t.Helper()
	l := newLine()
	t.Cleanup(l.cut)
	go func() { // ends with the line
		hello := make([]byte, openLen)
		if _, err := io.ReadFull(l.far, hello); err == nil {
			l.far.Write(answer(hello))
		}
	}()
	return l.near
}

// openedBy returns an answer to hello, signed by sign.
func openedBy(hello []byte, sign func(hello, answer []byte) [sigLen]byte) []byte {
	a := &opened{}
	a.public[0], a.nonce[0] = 9, 1
	a.signature = sign(hello, a.signed())
	return a.encode()
}

func TestProve(t *testing.T) {
	l := newLab(t)
	defer l.close()
	key := l.key.Public().(ed25519.PublicKey)
	conn, err := l.net.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := Prove(t.Context(), conn, key); err != nil {
		t.Errorf("the server's own key: %v", err)
	}

	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(key ed25519.PrivateKey, label string) func(hello, answer []byte) [sigLen]byte {
		return func(hello, answer []byte) [sigLen]byte {
			sig, err := signHello(key, label, hello, answer)
			if err != nil {
				t.Error(err)
			}
			return sig
		}
	}
	earlier := openedBy(make([]byte, openLen), signed(l.key, labelOpened)) // for another client's hello
	for name, answer := range map[string]func(hello []byte) []byte{
		"another key":       func(h []byte) []byte { return openedBy(h, signed(stranger, labelOpened)) },
		"an earlier answer": func([]byte) []byte { return earlier },
		"another label":     func(h []byte) []byte { return openedBy(h, signed(l.key, labelRefused)) },
		"no signature":      func(h []byte) []byte { return openedBy(h, func(_, _ []byte) (s [sigLen]byte) { return s }) },
		"an SSH signature of the right key": func(h []byte) []byte {
			return openedBy(h, func(hello, answer []byte) [sigLen]byte {
				return [sigLen]byte(ed25519.Sign(l.key, digest(hello, answer))) // as for an exchange hash with this value
			})
		},
		"a refusal of another key": func(h []byte) []byte {
			r := &refused{code: CodeBusy}
			r.signature = signed(stranger, labelRefused)(h, r.signed())
			return r.encode()
		},
	} {
		if err := Prove(t.Context(), answerer(t, answer), key); !errors.Is(err, ErrHostKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, answer := range map[string][]byte{
		"an SSH server": []byte("SSH-2.0-OpenSSH_9.2\r\n"), "nonsense": bytes.Repeat([]byte{1}, openedLen), "another kind": {7},
	} {
		err := Prove(t.Context(), answerer(t, func([]byte) []byte { return answer }), key)
		if err == nil {
			t.Errorf("%s proved the key", name)
		}
	}
	for _, none := range []ed25519.PublicKey{nil, {}, key[:31]} {
		if err := Prove(t.Context(), answerer(t, func([]byte) []byte { return nil }), none); !errors.Is(err, ErrHostKey) {
			t.Errorf("a key of %d bytes: %v", len(none), err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Prove(ended, answerer(t, func([]byte) []byte { return nil }), key); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits: %v", err)
	}
}

// recorder is a host key that records the data that it signs.
type recorder struct {
	ed25519.PrivateKey
	signed [][]byte
}

func (r *recorder) Sign(rand io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	r.signed = append(r.signed, slices.Clone(message))
	return r.PrivateKey.Sign(rand, message, opts)
}

// TestSignaturesAreNotThoseOfSSH checks that the data that the host key signs for a stream differs
// from all that it signs for SSH: the hash of a key exchange, which has the length of a hash (RFC
// 4253, section 8), and hostkeys-prove-00@openssh.com, which begins with the length of that name.
// Otherwise an attacker could relay one signature as the other.
func TestSignaturesAreNotThoseOfSSH(t *testing.T) {
	var key *recorder
	l := newLab(t, func(c *ServerConfig) {
		key = &recorder{PrivateKey: c.HostKey.(ed25519.PrivateKey)}
		c.HostKey = key
	})
	conn, err := l.net.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := Prove(t.Context(), conn, key.Public().(ed25519.PublicKey)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if got := l.refusalTo((&resumeHello{epoch: 1}).encode()); got.code != CodeUnknown {
		t.Errorf("refused as %v", got.code)
	}
	l.close()
	if len(key.signed) < 2 {
		t.Fatalf("the host key has signed %d messages", len(key.signed))
	}
	for _, m := range key.signed {
		if slices.Contains([]int{sha1.Size, sha256.Size, sha512.Size384, sha512.Size}, len(m)) || m[0] == 0 || !bytes.HasPrefix(m, []byte("keyway stream ")) {
			t.Errorf("%q could be taken for what SSH has a host key sign", m)
		}
	}
}
