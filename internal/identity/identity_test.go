package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"keyway/internal/sshwire"
)

// message returns the body of an ADD_IDENTITY message as another implementation
// writes it, without its type and its end (comment and constraints).
func message(t testing.TB, key agent.AddedKey) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	got := make(chan []byte, 1)
	go func() {
		defer theirs.Close()
		buf := make([]byte, 64<<10)
		n := 0
		for {
			m, err := theirs.Read(buf[n:])
			n += m
			if err != nil {
				got <- nil
				return
			}
			if r := sshwire.NewReader(buf[:n]); r.String() != nil {
				break
			}
		}
		theirs.Write([]byte{0, 0, 0, 1, 6})
		got <- buf[5:n]
	}()
	if err := agent.NewClient(ours).Add(key); err != nil {
		t.Fatal(err)
	}
	return <-got
}

type sample struct {
	name string
	key  crypto.Signer
}

var samples = sync.OnceValue(func() []sample {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	must(err)
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	list := []sample{{"ed25519", &ed}, {"rsa", r}}
	for _, c := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		must(err)
		list = append(list, sample{c.Params().Name, k})
	}
	return list
})

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func certify(t testing.TB, pub ssh.PublicKey, change func(*ssh.Certificate)) *ssh.Certificate {
	t.Helper()
	ca, err := ssh.NewSignerFromKey(samples()[0].key)
	if err != nil {
		t.Fatal(err)
	}
	cert := &ssh.Certificate{Key: pub, CertType: ssh.UserCert, ValidBefore: ssh.CertTimeInfinity, ValidPrincipals: []string{"me"}}
	if change != nil {
		change(cert)
	}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestEveryTypeSigns(t *testing.T) {
	for _, s := range samples() {
		for _, withCert := range []bool{false, true} {
			added := agent.AddedKey{PrivateKey: s.key, Comment: "me"}
			pub, err := ssh.NewPublicKey(s.key.Public())
			if err != nil {
				t.Fatal(err)
			}
			if withCert {
				added.Certificate = certify(t, pub, nil)
			}
			r := sshwire.NewReader(message(t, added))
			k, err := ReadPrivate(r)
			if err != nil {
				t.Fatalf("%s, certificate %v: %v", s.name, withCert, err)
			}
			if r.Text() != "me" || r.End() != nil {
				t.Errorf("%s: what follows the key was not left", s.name)
			}
			if k.Fingerprint != ssh.FingerprintSHA256(pub) || (k.Certificate() != nil) != withCert {
				t.Errorf("%s: %+v", s.name, k)
			}
			for _, flags := range []uint32{0, FlagSHA256, FlagSHA512} {
				sig, err := k.Sign(t.Context(), []byte("data"), flags)
				if err != nil {
					t.Fatalf("%s: %v", s.name, err)
				}
				if err := pub.Verify([]byte("data"), sig); err != nil {
					t.Errorf("%s with %s: %v", s.name, sig.Format, err)
				}
			}
			k.Destroy()
			if _, err := k.Sign(t.Context(), nil, 0); !errors.Is(err, errForgotten) {
				t.Errorf("%s: after Destroy: %v", s.name, err)
			}
			k.Destroy()
		}
	}
}

func TestRSAFlags(t *testing.T) {
	k, err := ReadPrivate(sshwire.NewReader(message(t, agent.AddedKey{PrivateKey: samples()[1].key})))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Destroy()
	for flags, want := range map[uint32]string{0: "ssh-rsa", FlagSHA256: "rsa-sha2-256", FlagSHA512: "rsa-sha2-512", 6: "rsa-sha2-256"} {
		if sig, err := k.Sign(t.Context(), []byte("x"), flags); err != nil || sig.Format != want {
			t.Errorf("flags %d: %v %v", flags, sig, err)
		}
	}
}

// TestHalvesThatDoNotFit checks that a key whose halves do not match is refused. Its signatures
// would be wrong, and could reveal the key.
func TestHalvesThatDoNotFit(t *testing.T) {
	for _, s := range samples() {
		good := message(t, agent.AddedKey{PrivateKey: s.key})
		pub, _ := ssh.NewPublicKey(s.key.Public())
		refused := 0
		for i := len(ssh.KeyAlgoED25519); i < len(good)-4; i += 7 {
			bad := bytes.Clone(good)
			bad[i] ^= 0x40
			k, err := ReadPrivate(sshwire.NewReader(bad))
			if err != nil {
				refused++
				continue
			}
			sig, err := k.Sign(t.Context(), []byte("x"), FlagSHA256)
			if err == nil && k.Public.Verify([]byte("x"), sig) != nil {
				t.Errorf("%s: byte %d: it signs what does not verify", s.name, i)
			}
			if bytes.Equal(k.Blob, pub.Marshal()) && err != nil {
				t.Errorf("%s: byte %d: %v", s.name, i, err)
			}
			k.Destroy()
		}
		if refused == 0 {
			t.Errorf("%s: nothing was refused", s.name)
		}
	}
}

func TestCertificateOfAnotherKey(t *testing.T) {
	_, other, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pub, _ := ssh.NewPublicKey(other.Public())
	cert := certify(t, pub, nil)
	r := sshwire.NewReader(message(t, agent.AddedKey{PrivateKey: samples()[0].key, Certificate: nil}))
	k, err := ReadPrivate(r)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Destroy()
	if _, err := k.WithCertificate(cert); err == nil {
		t.Error("a certificate for another key was taken")
	}
	blob := sshwire.AppendString(nil, ssh.CertAlgoED25519v01)
	blob = sshwire.AppendString(blob, cert.Marshal())
	mine := *samples()[0].key.(*ed25519.PrivateKey)
	blob = sshwire.AppendString(blob, mine[32:])
	blob = sshwire.AppendString(blob, mine)
	if _, err := ReadPrivate(sshwire.NewReader(blob)); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("%v", err)
	}
}

func TestExpiry(t *testing.T) {
	now := time.Unix(1000, 0)
	pub, _ := ssh.NewPublicKey(samples()[0].key.Public())
	for before, want := range map[uint64]bool{999: true, 1000: true, 1001: false, ssh.CertTimeInfinity: false} {
		k := newKey(certify(t, pub, func(c *ssh.Certificate) { c.ValidBefore = before }))
		if k.Expired(now) != want {
			t.Errorf("valid before %d: not %v", before, want)
		}
	}
	if newKey(pub).Expired(now) {
		t.Error("a plain key has expired")
	}
}

func TestSecretIsOverwritten(t *testing.T) {
	s, err := newSecret([]byte("private"))
	if err != nil {
		t.Fatal(err)
	}
	entered, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := s.use(func(b []byte) error {
			close(entered)
			<-leave
			if string(b) != "private" {
				t.Errorf("destroyed while in use: %q", b)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-entered
	wg.Go(s.destroy)
	close(leave)
	wg.Wait()
	if err := s.use(func([]byte) error { return nil }); !errors.Is(err, errForgotten) {
		t.Errorf("%v", err)
	}
}

// TestForgetWhileSigning checks that forgetting a key while it signs does not crash: forgetting
// unmaps its memory.
func TestForgetWhileSigning(t *testing.T) {
	k, err := ReadPrivate(sshwire.NewReader(message(t, agent.AddedKey{PrivateKey: samples()[0].key})))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if _, err := k.Sign(context.Background(), []byte("x"), 0); err != nil {
					return
				}
			}
		})
	}
	wg.Go(k.Destroy)
	wg.Wait()
}

func FuzzReadPrivate(f *testing.F) {
	for _, s := range samples() {
		f.Add(message(f, agent.AddedKey{PrivateKey: s.key}))
	}
	pub, _ := ssh.NewPublicKey(samples()[0].key.Public())
	f.Add(message(f, agent.AddedKey{PrivateKey: samples()[0].key, Certificate: certify(f, pub, nil)}))
	sk := sshwire.AppendString(nil, ssh.KeyAlgoSKED25519)
	for _, s := range []string{strings.Repeat("k", 32), "ssh:"} {
		sk = sshwire.AppendString(sk, s)
	}
	f.Add(sshwire.AppendString(sshwire.AppendString(append(sk, 1), "handle"), ""))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := ReadPrivate(sshwire.NewReader(data))
		if (k == nil) == (err == nil) {
			t.Fatal("neither key nor error, or both")
		}
		if k == nil {
			return
		}
		defer k.Destroy()
		if again, err := ssh.ParsePublicKey(k.Blob); err != nil || !bytes.Equal(again.Marshal(), k.Blob) {
			t.Fatalf("the public key does not survive: %v", err)
		}
	})
}

func BenchmarkSignEd25519(b *testing.B) {
	k, err := ReadPrivate(sshwire.NewReader(message(b, agent.AddedKey{PrivateKey: samples()[0].key})))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := k.Sign(b.Context(), []byte("data"), 0); err != nil {
			b.Fatal(err)
		}
	}
}
