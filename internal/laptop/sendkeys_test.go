package laptop

import (
	"crypto/ed25519"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
)

// TestEndsOfKeys: a key enters as long as the last of its certificates holds, and
// never for longer than a key without one.
func TestEndsOfKeys(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	longest := now.Add(keyway.MaxEntry)
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	cert := func(until uint64) PublicKey {
		return PublicKey{PublicKey: &ssh.Certificate{Key: key, ValidBefore: until}}
	}
	day := now.Add(24 * time.Hour)
	mine := PublicKey{PublicKey: key}
	for what, c := range map[string]struct {
		held []PublicKey
		want time.Time
	}{
		"no certificate":         {[]PublicKey{mine}, longest},
		"of a day":               {[]PublicKey{mine, cert(uint64(day.Unix()))}, day},
		"the last counts":        {[]PublicKey{cert(uint64(day.Unix())), cert(uint64(now.Unix()))}, day},
		"over already":           {[]PublicKey{cert(uint64(now.Add(-time.Hour).Unix()))}, now.Add(-time.Hour)},
		"without an end":         {[]PublicKey{cert(ssh.CertTimeInfinity)}, longest},
		"beyond what time knows": {[]PublicKey{cert(ssh.CertTimeInfinity - 1)}, longest},
	} {
		if got := endOf(mine, c.held, now); !got.Equal(c.want) {
			t.Errorf("%s: until %v, want %v", what, got, c.want)
		}
	}
}
