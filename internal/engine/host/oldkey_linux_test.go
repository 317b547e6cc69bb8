package host

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"

	"keyway/internal/engine"
	"keyway/internal/keyway"
)

func oldKeyFile(t testing.TB, private any) []byte {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(private, "keyway workspace")
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestOldKeyIsAdopted checks that a workspace of an older keyway keeps the key that laptops have
// pinned.
func TestOldKeyIsAdopted(t *testing.T) {
	root := t.TempDir()
	e := New(root, engine.Guest{Dir: "/guests/cafe"})
	home, err := e.homes.Make(keyway.Spec{Name: "old", Engine: Name}, e.guest)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.homes.Revise("old", func(r *engine.Record) { r.HostKey = "" }); err != nil {
		t.Fatal(err)
	}
	key, path := newKey(t), filepath.Join(string(home), oldKey)
	if err := os.WriteFile(path, oldKeyFile(t, key), 0o600); err != nil {
		t.Fatal(err)
	}
	line, err := e.hostKey("old", home)
	if err != nil || !bytes.Equal(line, keyway.MarshalHostKey(key)) {
		t.Fatalf("another key is handed over: %v", err)
	}
	if rec, err := e.homes.Record("old"); err != nil || rec.HostKey != keyway.PublicHostKey(key.Public().(ed25519.PublicKey)) {
		t.Errorf("%+v, %v", rec, err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the key is still in the Home: %v", err)
	}
	if err := e.homes.Revise("old", func(r *engine.Record) { r.HostKey = "" }); err != nil {
		t.Fatal(err)
	}
	if _, err := e.hostKey("old", home); !keyway.Is(err, keyway.GuestFailed) || keyway.AsError(err).Help() == "" {
		t.Errorf("without its key: %v", err)
	}
}

func FuzzOldKey(f *testing.F) {
	whole := oldKeyFile(f, newKey(f))
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if key, err := parseOldKey(in); err == nil && len(key) != ed25519.PrivateKeySize {
			t.Errorf("a key of %d bytes", len(key))
		}
	})
}
