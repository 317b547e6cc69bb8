package sshconfig

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"keyway/internal/keyway"
)

// Only a first host that nothing else limits is to be limited by the link: not one with a
// ConnectTimeout of the user's, not what a command of the user's reaches, and none behind
// another.
func TestFirstHop(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "config")
	lines := "Host bastion\n HostName 10.0.0.1\nHost patient\n HostName 10.0.0.2\n ConnectTimeout 300\n" +
		"Host gpu1\n ProxyJump bastion\n ConnectTimeout 7\nHost gpu2\n ProxyJump ada@bastion:2222\nHost gpu3\n ProxyJump patient\n" +
		"Host cloud\n ProxyCommand wake %h\nHost gpu4\n ProxyJump cloud\n"
	if err := os.WriteFile(conf, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	type hop struct {
		address, unlimited string
		longest            time.Duration
	}
	for place, want := range map[string]hop{
		"bastion": {"10.0.0.1:22", "bastion", 0},
		"gpu1":    {"10.0.0.1:22", "bastion", 7 * time.Second},
		"gpu2":    {"10.0.0.1:2222", "bastion", 0},
		"patient": {"10.0.0.2:22", "", 300 * time.Second},
		"gpu3":    {"10.0.0.2:22", "", 300 * time.Second},
		"cloud":   {"", "", 0},
		"gpu4":    {"", "", 0},
	} {
		var got hop
		got.address, got.unlimited, got.longest = resolver{options: []string{"-F", conf}}.firstHop(t.Context(), keyway.Place(place))
		if got != want {
			t.Errorf("%s begins at %v, want %v", place, got, want)
		}
	}
}
