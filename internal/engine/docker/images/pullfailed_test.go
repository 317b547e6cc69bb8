package images

import (
	"strings"
	"testing"

	"keyway/internal/engine/docker/daemon"
	"keyway/internal/keyway"
)

// TestRegistriesThatAreNotReached checks that errors about unreachable registries have words for
// people, without the chain of the daemon's calls.
func TestRegistriesThatAreNotReached(t *testing.T) {
	for said, want := range map[string]string{
		`Get "https://registry.example/v2/": dial tcp: lookup registry.example on 10.0.0.53:53: no such host`:                                          "its name is not known there",
		`Get "https://registry.example/v2/": dial tcp: lookup registry.example on 10.0.0.53:53: dial udp: connect: network is unreachable`:             "there is no route to the network",
		`Get "https://registry.example/v2/": dial tcp 192.0.2.1:443: connect: connection refused`:                                                      "nothing listens there",
		`Get "https://registry.example/v2/": dial tcp 192.0.2.1:443: i/o timeout`:                                                                      "it does not answer",
		`Get "https://registry.example/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)`: "it does not answer",
		`Get "https://registry.example/v2/": net/http: TLS handshake timeout`:                                                                          "it does not answer",
		`Get "https://registry.example/v2/": context deadline exceeded`:                                                                                "it does not answer",
	} {
		err := keyway.AsError(pullFailed(daemon.Identity{}, "registry.example/x", said))
		if err.Kind != keyway.ImageNotFound || !strings.HasSuffix(err.Message, ": "+want) || strings.Contains(err.Message, "Get ") {
			t.Errorf("%s\n  becomes %q, want %q", said, err.Message, want)
		}
	}
}
