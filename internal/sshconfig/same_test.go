package sshconfig

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"

	"keyway/internal/keyway"
)

// TestSameWorkspace checks that a new workspace of the same name, which has another host key, is
// refused.
func TestSameWorkspace(t *testing.T) {
	var keys [2]string
	for i := range keys {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = keyway.PublicHostKey(public)
	}
	mine, other := keys[0], keys[1]
	for _, c := range []struct {
		remembered, there string
		kind              keyway.Kind // empty: it is the same, or that cannot be known
	}{
		{mine, mine, ""},
		{mine, mine + " a comment", ""},
		{mine, other, keyway.HostKeyChanged},
		{mine, "no key", keyway.HostKeyChanged},
		{mine, "", ""},
		{"", other, ""},
	} {
		e := Entry{Name: "a", Place: "gpu1", HostKey: c.remembered}
		err := e.SameWorkspace(keyway.Workspace{Name: "a", Guest: keyway.GuestInfo{HostKey: c.there}})
		if (c.kind == "") != (err == nil) || c.kind != "" && !keyway.Is(err, c.kind) {
			t.Errorf("%q, and there is %q: %v", c.remembered, c.there, err)
		}
	}
}
