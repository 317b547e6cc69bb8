//go:build linux

package words

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
	"keyway/internal/session/wire"
)

func TestSignalsAreNoKeys(t *testing.T) {
	if sig, ok, err := parseSignal("sigterm"); sig != unix.SIGTERM || !ok || err != nil {
		t.Errorf("sigterm: %v %t %v", sig, ok, err)
	}
	m, err := frameFor("SIGTERM", true, true)
	if _, ok := m.(wire.Input); !ok || err != nil {
		t.Errorf("--text SIGTERM: %#v, %v", m, err)
	}
	if _, err := frameFor(strings.Repeat("x", wire.MaxData+1), true, true); !keyway.Is(err, keyway.Usage) {
		t.Errorf("a long text: %v", err)
	}
}

func TestDurationsInTables(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s", 90 * time.Minute: "1h30m", 49 * time.Hour: "2d01h",
	} {
		if got := short(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
