package laptop

import (
	"crypto/ed25519"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"keyway/internal/keyway"
)

// TestEndsOfKeys checks that a key enters as long as the last of its certificates is valid. For a
// certificate without an end, the place's clock decides, not this laptop's.
func TestEndsOfKeys(t *testing.T) {
	now := time.Now().Truncate(time.Second)
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
		"no certificate":         {[]PublicKey{mine}, time.Time{}},
		"of a day":               {[]PublicKey{mine, cert(uint64(day.Unix()))}, day},
		"the last counts":        {[]PublicKey{cert(uint64(day.Unix())), cert(uint64(now.Unix()))}, day},
		"over already":           {[]PublicKey{cert(uint64(now.Add(-time.Hour).Unix()))}, now.Add(-time.Hour)},
		"without an end":         {[]PublicKey{cert(ssh.CertTimeInfinity)}, time.Time{}},
		"beyond what time knows": {[]PublicKey{cert(ssh.CertTimeInfinity - 1)}, time.Time{}},
	} {
		// A place whose clock differs much from this laptop's accepts the keys.
		for _, there := range []time.Time{now.AddDate(-50, 0, 0), now.AddDate(50, 0, 0)} {
			sent := []keyway.EntryKey{{Line: mine.Line(), Until: endOf(mine, c.held)}}
			merged := keyway.MergeKeys(nil, sent, there)
			if c.want.IsZero() && (len(merged) != 1 || merged[0].Until.Sub(there) > keyway.MaxEntry || merged[0].Until.Sub(there) < keyway.MaxEntry-time.Second) {
				t.Errorf("%s: at %v it is %v", what, there, merged)
			}
		}
		if got := endOf(mine, c.held); !got.Equal(c.want) {
			t.Errorf("%s: until %v, want %v", what, got, c.want)
		}
	}
}
