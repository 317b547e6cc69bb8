//go:build linux

package guest

import (
	"encoding/json"
	"os"
	"time"

	"keyway/internal/keyway"
)

const (
	infoTimeout = 10 * time.Second
	infoPoll    = 20 * time.Millisecond
)

// infoMain prints the guest's description of itself as soon as there is one.
func infoMain(home keyway.Home, _ []string) int {
	deadline := time.Now().Add(infoTimeout)
	for {
		info, err := home.ReadInfo()
		if err == nil {
			if err = json.NewEncoder(os.Stdout).Encode(info); err != nil {
				return fail(os.Stderr, err)
			}
			return 0
		}
		if time.Now().After(deadline) {
			return fail(os.Stderr, keyway.Errorf(keyway.GuestFailed, "the guest has not become ready in %v: %w", infoTimeout, err))
		}
		time.Sleep(infoPoll)
	}
}
