//go:build linux

package link

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
)

// hostKeyOf returns a public key as a place would give it.
func hostKeyOf(t *testing.T, public any) string {
	t.Helper()
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(key))
}

// TestProve checks that only the guest's own key can be proved, and only in a stream.
func TestProve(t *testing.T) {
	w := startWorld(t)
	if err := w.client.Prove(t.Context(), "gpu1", "train", w.guest.hostKey()); err != nil {
		t.Errorf("the guest's own key: %v", err)
	}
	stranger, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		name    keyway.Name
		hostKey string
		kind    keyway.Kind
	}{
		"another host's key":        {"train", hostKeyOf(t, stranger), keyway.Untrusted},
		"a key of another type":     {"train", hostKeyOf(t, curve.Public()), keyway.Untrusted},
		"no key":                    {"train", "", keyway.Untrusted},
		"two keys":                  {"train", "x " + w.guest.hostKey(), keyway.Untrusted},
		"a guest that speaks SSH":   {"old", w.guest.hostKey(), keyway.VersionMismatch},
		"a workspace that is none":  {"nothing", w.guest.hostKey(), keyway.NotFound},
		"a name that is impossible": {"../x", w.guest.hostKey(), keyway.Usage},
	} {
		begun := time.Now()
		err := w.client.Prove(t.Context(), "gpu1", c.name, c.hostKey)
		if !keyway.Is(err, c.kind) {
			t.Errorf("%s: %v", what, err)
		}
		if took := time.Since(begun); took > proofTime/2 {
			t.Errorf("%s: tried again for %v, which cannot help", what, took)
		}
	}
}
