package keyway

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParseGrace(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "30": 30 * time.Second, "1.5": 1500 * time.Millisecond, "30s": 30 * time.Second, "5m": 5 * time.Minute, "24h": MaxGrace,
		"1h30m": 90 * time.Minute,
	} {
		if got, err := ParseGrace(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "-1s", "NaN", "inf", "86401", "25h", "soon", "5 m", "1e300", "0x10"} {
		if got, err := ParseGrace(text); !Is(err, Usage) || AsError(err).Help() == "" || !strings.Contains(err.Error(), strconv.Quote(text)) {
			t.Errorf("%q: %v, %v, want a refusal that says what to type", text, got, err)
		}
	}
}
