//go:build linux

package wire

import (
	"testing"
	"time"
)

func TestRenewalsAreBoundedInARowOnly(t *testing.T) {
	now := time.Now()
	var calm, hasty Renewals
	for range 10 * maxRenewals {
		now = now.Add(stayed + 1)
		if !calm.Another(now) {
			t.Fatal("a viewer is left after many upgrades")
		}
	}
	for range maxRenewals {
		now = now.Add(stayed)
		if !hasty.Another(now) {
			t.Fatal("a viewer is left too early")
		}
	}
	if hasty.Another(now) {
		t.Error("a viewer looks for ever for a holder that does not stay")
	}
}
