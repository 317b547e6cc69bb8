//go:build linux

package session

import (
	"testing"
	"time"
)

func TestRenewalsAreBoundedInARowOnly(t *testing.T) {
	now := time.Now()
	var calm, hasty renewals
	for range 10 * maxRenewals {
		now = now.Add(stayed + 1)
		if !calm.another(now) {
			t.Fatal("a viewer is left after many upgrades")
		}
	}
	for range maxRenewals {
		now = now.Add(stayed)
		if !hasty.another(now) {
			t.Fatal("a viewer is left too early")
		}
	}
	if hasty.another(now) {
		t.Error("a viewer looks for ever for a holder that does not stay")
	}
}
